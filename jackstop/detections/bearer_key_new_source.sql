-- Calls with bearer keys where both the network and the client came into use within a day.
WITH calls AS (
  SELECT ts, account, principal, provider_key_id, service, outcome, model_asked, region, src_net, client,
    ts - lag(ts) OVER (PARTITION BY principal, src_net ORDER BY ts) AS net_gap,
    ts - lag(ts) OVER (PARTITION BY principal, client ORDER BY ts) AS client_gap,
    MIN(ts) OVER (PARTITION BY principal) AS key_ts
  FROM events
  WHERE source = 'cloudtrail' AND principal <> '' AND key_kind = 'bearer' AND action_class = 'inference'
    AND src_net <> ''
),
spells AS (
  SELECT ts, account, principal, provider_key_id, service, outcome, model_asked, region, src_net, client, key_ts,
    MAX(CASE WHEN net_gap IS NULL OR net_gap > 2592000000000 THEN ts END)
      OVER (PARTITION BY principal, src_net ORDER BY ts) AS net_began,
    MAX(CASE WHEN client_gap IS NULL OR client_gap > 2592000000000 THEN ts END)
      OVER (PARTITION BY principal, client ORDER BY ts) AS client_began
  FROM calls
)
SELECT
  'principal:' || principal AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE
    WHEN COUNT(CASE WHEN ts - key_ts >= 604800000000 THEN ts END) > 0 THEN 'high'
    WHEN COUNT(CASE WHEN ts - key_ts >= 86400000000 THEN ts END) > 0 THEN 'medium'
    ELSE 'low'
  END AS severity,
  principal AS cause,
  account,
  MIN(provider_key_id) AS access_key,
  SUM(CASE WHEN outcome = 'ok' THEN 1 ELSE 0 END) AS succeeded,
  MIN(service) AS service,
  MIN(model_asked) AS model,
  MIN(region) AS region,
  COUNT(DISTINCT src_net) AS networks,
  MIN(src_net) AS network,
  MIN(client) AS client,
  CASE WHEN COUNT(CASE WHEN ts - key_ts >= 604800000000 THEN ts END) > 0 THEN 'known' ELSE 'unproven' END AS history
FROM spells
WHERE ts - net_began < 86400000000 AND ts - client_began < 86400000000
GROUP BY principal, account, ts - mod(ts, 86400000000)
