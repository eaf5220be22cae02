-- Regions in which an account began to call models, or began again after 30 days, when it had called them elsewhere.
WITH calls AS (
  SELECT ts, account, region, principal, provider_key_id, key_kind, model_asked, src_net, client,
    ts - lag(ts) OVER (PARTITION BY account, region ORDER BY ts) AS gap,
    MIN(CASE WHEN outcome = 'ok' THEN ts END) OVER (PARTITION BY account) AS account_ts
  FROM events
  WHERE source = 'cloudtrail' AND principal <> '' AND action_class = 'inference' AND region <> ''
),
spells AS (
  SELECT ts, account, region, principal, provider_key_id, key_kind, model_asked, src_net, client, account_ts,
    MAX(CASE WHEN gap IS NULL OR gap > 2592000000000 THEN ts END) OVER (PARTITION BY account, region ORDER BY ts) AS began
  FROM calls
),
judged AS (
  SELECT ts, account, region, principal, provider_key_id, model_asked, src_net, client,
    CASE WHEN key_kind IN ('long_lived', 'bearer') THEN ts END AS static_ts,
    CASE WHEN began - account_ts >= 604800000000 THEN ts END AS known_ts
  FROM spells
  WHERE ts - began < 86400000000 AND began - account_ts >= 86400000000
)
SELECT
  'principal:' || principal AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE
    WHEN COUNT(static_ts) > 0 AND COUNT(known_ts) > 0 THEN 'high'
    WHEN COUNT(static_ts) > 0 OR COUNT(known_ts) > 0 THEN 'medium'
    ELSE 'low'
  END AS severity,
  principal AS cause,
  account,
  MIN(provider_key_id) AS access_key,
  MIN(region) AS region,
  COUNT(DISTINCT region) AS regions,
  MIN(model_asked) AS model,
  MIN(src_net) AS network,
  MIN(client) AS client,
  CASE WHEN COUNT(known_ts) > 0 THEN 'known' ELSE 'unproven' END AS history
FROM judged
GROUP BY principal, account, ts - mod(ts, 86400000000)
