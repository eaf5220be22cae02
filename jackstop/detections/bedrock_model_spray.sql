-- Models that a principal tried within five minutes; those that it used well a day earlier or more do not count.
-- Windows overlap by half, so that what takes half of one is never cut in two. What they find in a day is one
-- finding, with the count of the fullest.
WITH grids AS (SELECT 0 AS later UNION ALL SELECT 150000000 AS later),
calls AS (
  SELECT ts, source, principal, account, provider_key_id, model_asked, region, src_net, client,
    CASE WHEN outcome IN ('invalid', 'denied', 'not_found') THEN model_asked END AS failed_model,
    MIN(CASE WHEN outcome = 'ok' THEN ts END) OVER (PARTITION BY principal, model_asked) AS worked_ts
  FROM events
  WHERE source IN ('cloudtrail', 'bedrock_invocations') AND principal <> '' AND action_class = 'inference'
    AND model_asked <> ''
)
SELECT
  'principal:' || principal AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  principal AS cause,
  account,
  MIN(provider_key_id) AS access_key,
  COUNT(DISTINCT model_asked) AS models,
  COUNT(DISTINCT failed_model) AS failed_models,
  MIN(failed_model) AS model,
  COUNT(DISTINCT region) AS regions,
  MIN(src_net) AS network,
  MIN(client) AS client
FROM calls
CROSS JOIN grids
WHERE worked_ts IS NULL OR ts - worked_ts < 86400000000
GROUP BY principal, account, source, ts - mod(ts + later, 300000000)
HAVING COUNT(DISTINCT model_asked) >= 4 AND COUNT(DISTINCT failed_model) >= 2
