-- Clients that a learned key had not been used with in 28 days: another kind, or another order of headers.
WITH seen AS (
  SELECT hour, hour - mod(hour, 86400000000) AS day, key_id, owner, trait, value,
    MIN(first_ts) AS first_ts, MAX(last_ts) AS last_ts, SUM(requests) AS requests
  FROM sightings
  WHERE trait IN ('client', 'http') AND value <> '…'
  GROUP BY hour, key_id, owner, trait, value
)
SELECT 'key:' || seen.key_id AS entity, MIN(seen.first_ts) AS first_seen, MAX(seen.last_ts) AS last_seen,
  MAX(seen.requests) AS count,
  MAX(CASE WHEN seen.trait = 'client' AND of_owner.value IS NULL THEN 'low' ELSE 'info' END) AS severity,
  SUM(CASE WHEN seen.trait = 'client' THEN 1 ELSE 0 END) AS kinds,
  SUM(CASE WHEN seen.trait = 'http' THEN 1 ELSE 0 END) AS header_orders,
  MIN(CASE WHEN seen.trait = 'client' THEN seen.value END) AS client
FROM seen
JOIN baselines AS usual ON usual.day = seen.day AND usual.scope = 'key' AND usual.entity = seen.key_id
  AND usual.mature = 1
LEFT JOIN known AS of_key ON of_key.day = seen.day AND of_key.scope = 'key' AND of_key.entity = seen.key_id
  AND of_key.trait = seen.trait AND of_key.value = seen.value
LEFT JOIN known AS of_owner ON of_owner.day = seen.day AND of_owner.scope = 'owner' AND of_owner.entity = seen.owner
  AND of_owner.trait = seen.trait AND of_owner.value = seen.value
WHERE of_key.value IS NULL
GROUP BY seen.hour, seen.key_id
