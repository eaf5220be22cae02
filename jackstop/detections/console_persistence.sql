-- What lets somebody stay in a provider's account: keys, trust and roles over the whole organisation. It is worse from a
-- network that is new to whoever did it, and within a day of another alarm.
WITH acts AS (
  SELECT account, ts, event_id, principal, action, target_id, src_net, markers
  FROM events
  WHERE outcome = 'ok' AND (
    (target_kind IN ('admin_api_key', 'service_key', 'federation', 'oauth_app', 'signing_key') AND change = 'created')
    OR (target_kind = 'owner' AND change = 'updated')
    OR (markers LIKE '%admin_scope%' AND change IN ('created', 'updated'))
    OR (markers LIKE '%admin_role%' AND change IN ('created', 'updated', 'added', 'sent'))
  )
),
alarms AS (
  SELECT first_seen, last_seen
  FROM findings
  WHERE (severity IN ('high', 'critical')
      AND detection IN (
        'canary_used', 'checker_probe', 'distributed_use', 'login_guessing', 'brake_removed', 'audit_blinded', 'shadow_usage',
        'key_made_elsewhere', 'provider_limit_changed'
      ))
    OR (severity = 'medium' AND detection IN ('brake_removed', 'key_made_elsewhere', 'provider_limit_changed'))
),
judged AS (
  SELECT acts.account, acts.ts, acts.event_id, acts.principal, acts.action, acts.target_id, acts.src_net, acts.markers,
    COUNT(alarms.first_seen) AS alarmed
  FROM acts
  LEFT JOIN alarms ON alarms.first_seen <= acts.ts AND alarms.last_seen >= acts.ts - 86400000000
  GROUP BY acts.account, acts.ts, acts.event_id, acts.principal, acts.action, acts.target_id, acts.src_net, acts.markers
)
SELECT 'account:' || account AS entity, MIN(ts) AS first_seen, MAX(ts) AS last_seen, COUNT(*) AS count,
  CASE WHEN COUNT(CASE WHEN markers LIKE '%new_network%' OR alarmed > 0 THEN ts END) > 0 THEN 'high'
    ELSE 'medium' END AS severity,
  MIN(principal) AS principal, COUNT(DISTINCT principal) AS principals,
  MIN(action) AS act, MIN(target_id) AS target, MIN(src_net) AS network
FROM judged
GROUP BY account, ts - mod(ts, 300000000)
