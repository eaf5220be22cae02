-- Entries of a provider's log that are not what its vendor documents; each is set aside with its place and hash.
SELECT
  'account:' || account AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  MIN(raw_ref) AS place,
  MIN(error_message) AS problem
FROM events
WHERE action = 'unreadable' AND outcome = 'error'
GROUP BY account, ts - mod(ts, 300000000)
