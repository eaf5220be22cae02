-- Logs, network rules, key-less authentication and content filters on Azure that were taken off.
WITH acts AS (
  SELECT account, principal, ts, ts - mod(ts, 3600000000) AS start, src_net, action, target_kind, target_id,
    CASE WHEN service = 'Microsoft.CognitiveServices' THEN 1 ELSE 0 END AS of_models
  FROM events
  WHERE source = 'azure_activity' AND outcome = 'ok' AND (
    (target_kind IN ('diagnostic_settings', 'log_workspace') AND change IN ('deleted', 'disabled'))
    OR (target_kind = 'local_auth' AND change = 'enabled' AND (status IS NULL OR status <> 201))
    OR (target_kind = 'network_rules' AND change = 'disabled' AND (status IS NULL OR status <> 201))
    OR (target_kind = 'guardrail' AND change = 'deleted')
  )
)
SELECT CASE WHEN principal = '' THEN 'account:' || account ELSE 'principal:' || principal END AS entity,
  MIN(ts) AS first_seen, MAX(ts) AS last_seen, COUNT(*) AS count,
  CASE WHEN SUM(of_models) > 0 THEN 'high' ELSE 'medium' END AS severity,
  principal AS cause, account, SUM(of_models) AS of_models, COUNT(DISTINCT target_kind) AS kinds,
  MIN(target_kind) AS what, MIN(target_id) AS target, MIN(action) AS act, MIN(src_net) AS network
FROM acts
GROUP BY account, principal, start
