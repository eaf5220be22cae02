-- Secrets and stored objects of Google Cloud that were read by an identity which also reached for models or keys, from a
-- network that was new to it.
WITH calls AS (
  SELECT account, principal, src_net, ts, action_class, target_kind, target_id,
    ts - lag(ts) OVER (PARTITION BY account, principal, src_net ORDER BY ts) AS gap
  FROM events
  WHERE source = 'gcp_audit' AND outcome = 'ok' AND principal <> '' AND src_net <> ''
),
dated AS (
  SELECT account, principal, src_net, ts, action_class, target_kind, target_id,
    MAX(CASE WHEN gap IS NULL OR gap > 2592000000000 THEN ts END) OVER (PARTITION BY account, principal, src_net ORDER BY ts)
      AS began,
    MIN(ts) OVER (PARTITION BY account) AS since
  FROM calls
)
SELECT 'principal:' || principal AS entity,
  MIN(CASE WHEN action_class = 'data_read' THEN ts END) AS first_seen,
  MAX(CASE WHEN action_class = 'data_read' THEN ts END) AS last_seen,
  COUNT(CASE WHEN action_class = 'data_read' THEN ts END) AS count,
  CASE WHEN COUNT(CASE WHEN target_kind = 'secret' THEN ts END) > 0 AND began - since >= 604800000000 THEN 'high'
    WHEN COUNT(CASE WHEN target_kind = 'secret' THEN ts END) > 0 OR began - since >= 604800000000 THEN 'medium'
    ELSE 'low' END AS severity,
  CASE WHEN began - since >= 604800000000 THEN 'known' ELSE 'unproven' END AS history,
  principal AS cause, account, src_net AS network,
  COUNT(CASE WHEN target_kind = 'secret' THEN ts END) AS secrets,
  COUNT(DISTINCT CASE WHEN action_class = 'data_read' THEN target_id END) AS things,
  MIN(CASE WHEN action_class = 'data_read' THEN target_id END) AS thing,
  COUNT(CASE WHEN action_class IN ('inference', 'list_models', 'key_admin') THEN ts END) AS models_and_keys
FROM dated
WHERE ts - began < 86400000000
GROUP BY account, principal, src_net, began, since
HAVING COUNT(CASE WHEN action_class = 'data_read' THEN ts END) > 0
  AND COUNT(CASE WHEN action_class IN ('inference', 'list_models', 'key_admin') THEN ts END) > 0
