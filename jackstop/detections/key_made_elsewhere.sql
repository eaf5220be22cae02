-- Keys and service accounts that were made at a provider, and not by Jackstop's own rotations.
SELECT
  'account:' || account AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE
    WHEN COUNT(CASE WHEN markers LIKE '%new_network%' THEN ts END) > 0 THEN 'high'
    WHEN COUNT(CASE WHEN principal_kind = 'api_key' THEN ts END) > 0 THEN 'medium'
    ELSE 'low'
  END AS severity,
  MIN(principal) AS principal,
  COUNT(DISTINCT principal) AS principals,
  MIN(action) AS act,
  MIN(target_id) AS target,
  MIN(src_net) AS network
FROM events
WHERE outcome = 'ok'
  AND change = 'created'
  AND target_kind IN ('api_key', 'service_account')
  AND (markers NOT LIKE '%own%' OR markers LIKE '%own_key%')
GROUP BY account, ts - mod(ts, 300000000)
