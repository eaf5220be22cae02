-- Requests that match a signature of a key checker; the gate marks each with `probe:` and its name.
SELECT
  'key:' || key_id AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  MIN(markers) AS signature,
  MIN(src_net) AS network,
  COUNT(DISTINCT model_asked) AS models
FROM events
WHERE key_id <> ''
  AND markers LIKE '%probe:%'
  AND markers NOT LIKE '%probe:token_limit%'
GROUP BY key_id, ts - mod(ts, 300000000)
