-- Keys, people, limits and safeguards that were changed from a network on which whoever did it had not been seen.
SELECT
  'account:' || account AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  MIN(principal) AS principal,
  COUNT(DISTINCT action_class) AS classes,
  MIN(action) AS act,
  MIN(src_net) AS network
FROM events
WHERE outcome = 'ok'
  AND action_class IN ('key_admin', 'people_admin', 'limit_admin', 'change_guardrail', 'change_logging', 'commit_spend')
  AND markers LIKE '%new_network%'
GROUP BY account, ts - mod(ts, 300000000)
