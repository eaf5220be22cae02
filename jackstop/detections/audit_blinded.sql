-- The provider's own record of what is done was switched off.
SELECT
  'account:' || account AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  MIN(principal) AS principal,
  MIN(action) AS act,
  MIN(src_net) AS network
FROM events
WHERE target_kind = 'logging' AND change = 'disabled' AND outcome = 'ok'
GROUP BY account, ts - mod(ts, 300000000)
