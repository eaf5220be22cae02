-- Calls of a model with an output cap that cannot be meant, which only ask whether the credentials open it. Two models
-- within five minutes are somewhere one right after the other, so that to look one call back misses none.
WITH probes AS (
  SELECT ts, principal, account, source, provider_key_id, model_asked, region, src_net, client,
    ts - lag(ts) OVER (PARTITION BY principal, account, source ORDER BY ts, event_id) AS gap,
    lag(model_asked) OVER (PARTITION BY principal, account, source ORDER BY ts, event_id) AS model_before,
    lag(region) OVER (PARTITION BY principal, account, source ORDER BY ts, event_id) AS region_before
  FROM events
  WHERE source IN ('cloudtrail', 'bedrock_invocations') AND principal <> '' AND markers LIKE '%probe:token_limit%'
)
SELECT
  'principal:' || principal AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE WHEN COUNT(CASE WHEN gap < 300000000 AND (model_asked <> model_before OR region <> region_before) THEN ts END) > 0
    THEN 'high' ELSE 'medium' END AS severity,
  principal AS cause,
  account,
  MIN(provider_key_id) AS access_key,
  COUNT(DISTINCT model_asked) AS models,
  MIN(model_asked) AS model,
  COUNT(DISTINCT region) AS regions,
  MIN(region) AS region,
  MIN(src_net) AS network,
  MIN(client) AS client
FROM probes
GROUP BY principal, account, source, ts - mod(ts, 86400000000)
