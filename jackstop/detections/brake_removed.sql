-- What keeps strangers out of a provider's account or bounds what they can spend there, and was taken away.
SELECT
  'account:' || account AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE
    WHEN COUNT(CASE WHEN markers LIKE '%new_network%' OR target_kind IN ('ip_allowlist', 'sso', 'second_factor')
      THEN ts END) > 0 THEN 'high'
    WHEN COUNT(CASE WHEN change = 'disabled' OR action = 'platform_spend_limit_deleted' THEN ts END) > 0 THEN 'medium'
    ELSE 'low'
  END AS severity,
  MIN(principal) AS principal,
  COUNT(DISTINCT principal) AS principals,
  MIN(action) AS act,
  MIN(target_id) AS target,
  MIN(src_net) AS network
FROM events
WHERE outcome = 'ok'
  AND change IN ('deleted', 'disabled')
  AND target_kind IN ('ip_allowlist', 'sso', 'second_factor', 'scim', 'spend_limit', 'rate_limit')
GROUP BY account, ts - mod(ts, 300000000)
