-- Countries and operators that the key's owner, with whatever key, had not been seen in, counted by the hour; networks
-- alone where the key has no history of operators, which is where address data are missing.
WITH seen AS (
  SELECT hour, hour - mod(hour, 86400000000) AS day, key_id, owner, trait, value,
    MIN(first_ts) AS first_ts, MAX(last_ts) AS last_ts, SUM(requests) AS requests, SUM(cost_nusd) AS cost_nusd
  FROM sightings
  WHERE trait IN ('net', 'asn', 'country', 'network_kind')
  GROUP BY hour, key_id, owner, trait, value
),
novel AS (
  SELECT seen.day, seen.key_id,
    SUM(CASE WHEN seen.trait = 'net' THEN 1 ELSE 0 END) AS networks,
    SUM(CASE WHEN seen.trait = 'asn' THEN 1 ELSE 0 END) AS operators,
    SUM(CASE WHEN seen.trait = 'country' THEN 1 ELSE 0 END) AS countries,
    SUM(CASE WHEN seen.trait = 'network_kind' THEN 1 ELSE 0 END) AS kinds,
    MIN(seen.first_ts) AS first_seen, MAX(seen.last_ts) AS last_seen,
    SUM(CASE WHEN seen.trait = 'net' THEN seen.requests END) AS requests,
    SUM(CASE WHEN seen.trait = 'net' THEN seen.cost_nusd END) AS cost_nusd
  FROM seen
  LEFT JOIN known ON known.day = seen.day AND known.scope = 'owner' AND known.entity = seen.owner
    AND known.trait = seen.trait AND known.value = seen.value
  WHERE known.value IS NULL
  GROUP BY seen.hour, seen.day, seen.key_id
),
addressed AS (
  SELECT day, entity FROM known WHERE scope = 'key' AND trait = 'asn' GROUP BY day, entity
)
SELECT 'key:' || novel.key_id AS entity, novel.first_seen, novel.last_seen, COALESCE(novel.requests, 0) AS count,
  CASE WHEN addressed.entity IS NULL OR novel.countries < 3 OR novel.operators < 3 OR novel.kinds = 0 THEN 'medium'
    WHEN novel.cost_nusd >= 1000000000 THEN 'critical'
    ELSE 'high' END AS severity,
  novel.networks, novel.operators, novel.countries, novel.kinds, novel.cost_nusd
FROM novel
LEFT JOIN addressed ON addressed.day = novel.day AND addressed.entity = novel.key_id
LEFT JOIN baselines AS usual ON usual.day = novel.day AND usual.scope = 'key' AND usual.entity = novel.key_id
  AND usual.mature = 1
WHERE (usual.entity IS NULL AND novel.countries >= 5 AND novel.operators >= 5)
  OR (addressed.entity IS NOT NULL AND usual.entity IS NOT NULL AND (novel.countries >= 3 OR novel.operators >= 5))
  OR (addressed.entity IS NULL AND novel.networks >= 10 AND novel.networks >= 4 * usual.nets_hour_max)
