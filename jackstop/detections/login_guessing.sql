-- Somebody who got into a provider's console after five tries that failed, within five minutes.
SELECT
  'account:' || account AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  principal,
  SUM(CASE WHEN outcome = 'denied' THEN 1 ELSE 0 END) AS failed,
  COUNT(DISTINCT src_net) AS networks,
  MIN(CASE WHEN outcome = 'ok' THEN src_net END) AS network
FROM events
WHERE target_kind = 'login' AND principal <> ''
GROUP BY account, principal, ts - mod(ts, 300000000)
HAVING SUM(CASE WHEN outcome = 'denied' THEN 1 ELSE 0 END) >= 5
  AND MAX(CASE WHEN outcome = 'ok' THEN ts END) > MIN(CASE WHEN outcome = 'denied' THEN ts END)
