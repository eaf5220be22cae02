-- People who were invited to a provider's account, or came into it, without being made administrators.
SELECT
  'account:' || account AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE WHEN COUNT(CASE WHEN principal_kind = 'api_key' OR markers LIKE '%new_network%' THEN ts END) > 0 THEN 'medium'
    ELSE 'low' END AS severity,
  MIN(principal) AS principal,
  COUNT(DISTINCT target_id) AS people,
  MIN(target_id) AS target,
  MIN(src_net) AS network
FROM events
WHERE outcome = 'ok'
  AND target_kind IN ('user', 'invite', 'workspace_member')
  AND change IN ('added', 'created', 'sent')
  AND markers NOT LIKE '%admin_role%'
GROUP BY account, ts - mod(ts, 300000000)
