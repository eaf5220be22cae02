-- Successful calls of models without an agent, on a key that axios checked within a day before or after.
WITH calls AS (
  SELECT ts, account, principal, provider_key_id, client, model_asked, region, src_net,
    CASE WHEN client = 'axios' THEN ts END AS checked_ts
  FROM events
  WHERE source = 'cloudtrail' AND principal <> '' AND (
    (client = 'axios' AND action = 'GetModelInvocationLoggingConfiguration')
    OR (client = 'axios' AND action_class = 'inference' AND outcome IN ('invalid', 'denied', 'not_found'))
    OR (client = 'none' AND action_class = 'inference' AND outcome = 'ok')
  )
),
beside AS (
  SELECT ts, account, principal, provider_key_id, client, model_asked, region, src_net,
    MAX(checked_ts) OVER (PARTITION BY principal, provider_key_id ORDER BY ts) AS before_ts,
    MIN(checked_ts) OVER (PARTITION BY principal, provider_key_id ORDER BY ts DESC) AS after_ts
  FROM calls
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
  MIN(model_asked) AS model,
  COUNT(DISTINCT region) AS regions,
  MIN(region) AS region,
  COUNT(DISTINCT src_net) AS networks,
  MIN(src_net) AS network
FROM beside
WHERE client = 'none' AND (ts - before_ts <= 86400000000 OR after_ts - ts <= 86400000000)
GROUP BY principal, account, ts - mod(ts, 86400000000)
