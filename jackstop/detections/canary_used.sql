-- Any request with a key that nobody should ever use.
SELECT
  'key:' || key_id AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  MIN(src_ip) AS address,
  COUNT(DISTINCT src_net) AS networks,
  MIN(client) AS client,
  MIN(endpoint) AS endpoint
FROM events
WHERE key_id <> ''
  AND key_kind = 'canary'
GROUP BY key_id, ts - mod(ts, 300000000)
