-- Somebody who got into a provider's console after five tries that failed, within five minutes.
-- Windows overlap by half, so that what takes half of one is never cut in two. What they find in an hour is one
-- finding, with the count of the fullest.
WITH grids AS (SELECT 0 AS later UNION ALL SELECT 150000000 AS later)
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
CROSS JOIN grids
WHERE target_kind = 'login' AND principal <> ''
GROUP BY account, principal, ts - mod(ts + later, 300000000)
HAVING SUM(CASE WHEN outcome = 'denied' THEN 1 ELSE 0 END) >= 5
  AND MAX(CASE WHEN outcome = 'ok' THEN ts END) > MIN(CASE WHEN outcome = 'denied' THEN ts END)
