-- Files, batches, stored responses and the like, read or tried by a learned key that had not done so in 28 days.
WITH seen AS (
  SELECT hour, hour - mod(hour, 86400000000) AS day, key_id, owner, MIN(first_ts) AS first_seen,
    MAX(last_ts) AS last_seen, SUM(requests) AS requests, SUM(admitted) AS admitted
  FROM sightings
  WHERE trait = 'class' AND value = 'data_read'
  GROUP BY hour, key_id, owner
)
SELECT 'key:' || seen.key_id AS entity, seen.first_seen, seen.last_seen, seen.requests AS count,
  CASE WHEN of_owner.value IS NULL THEN 'medium' ELSE 'low' END AS severity,
  seen.admitted
FROM seen
JOIN baselines AS usual ON usual.day = seen.day AND usual.scope = 'key' AND usual.entity = seen.key_id
  AND usual.mature = 1
LEFT JOIN known AS of_key ON of_key.day = seen.day AND of_key.scope = 'key' AND of_key.entity = seen.key_id
  AND of_key.trait = 'class' AND of_key.value = 'data_read'
LEFT JOIN known AS of_owner ON of_owner.day = seen.day AND of_owner.scope = 'owner' AND of_owner.entity = seen.owner
  AND of_owner.trait = 'class' AND of_owner.value = 'data_read'
WHERE of_key.value IS NULL
