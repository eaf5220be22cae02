-- Models that a learned key had not asked for in 28 days.
WITH seen AS (
  SELECT hour, hour - mod(hour, 86400000000) AS day, key_id, owner, value, MIN(first_ts) AS first_ts,
    MAX(last_ts) AS last_ts, SUM(requests) AS requests
  FROM sightings
  WHERE trait = 'model' AND value <> '…'
  GROUP BY hour, key_id, owner, value
)
SELECT 'key:' || seen.key_id AS entity, MIN(seen.first_ts) AS first_seen, MAX(seen.last_ts) AS last_seen,
  SUM(seen.requests) AS count,
  MAX(CASE WHEN of_owner.value IS NULL THEN 'low' ELSE 'info' END) AS severity,
  COUNT(*) AS models, MIN(seen.value) AS model
FROM seen
JOIN baselines AS usual ON usual.day = seen.day AND usual.scope = 'key' AND usual.entity = seen.key_id
  AND usual.mature = 1
LEFT JOIN known AS of_key ON of_key.day = seen.day AND of_key.scope = 'key' AND of_key.entity = seen.key_id
  AND of_key.trait = 'model' AND of_key.value = seen.value
LEFT JOIN known AS of_owner ON of_owner.day = seen.day AND of_owner.scope = 'owner' AND of_owner.entity = seen.owner
  AND of_owner.trait = 'model' AND of_owner.value = seen.value
WHERE of_key.value IS NULL
GROUP BY seen.hour, seen.key_id
