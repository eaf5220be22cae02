-- Networks that the key's owner, with whatever key, had not been seen on in 28 days. What the hour also shows that is new
-- says how much that means: an operator and a kind of network where address data are there, the client where not.
WITH seen AS (
  SELECT hour, hour - mod(hour, 86400000000) AS day, key_id, owner, trait, value,
    MIN(first_ts) AS first_ts, MAX(last_ts) AS last_ts, SUM(requests) AS requests, SUM(cost_nusd) AS cost_nusd
  FROM sightings
  WHERE trait IN ('net', 'asn', 'network_kind', 'http') AND value <> '…'
  GROUP BY hour, key_id, owner, trait, value
),
novel AS (
  SELECT seen.day, seen.key_id, seen.owner,
    SUM(CASE WHEN seen.trait = 'net' THEN 1 ELSE 0 END) AS networks,
    SUM(CASE WHEN seen.trait = 'asn' THEN 1 ELSE 0 END) AS operators,
    SUM(CASE WHEN seen.trait = 'network_kind' THEN 1 ELSE 0 END) AS kinds,
    SUM(CASE WHEN seen.trait = 'http' THEN 1 ELSE 0 END) AS clients,
    MIN(CASE WHEN seen.trait = 'net' THEN seen.first_ts END) AS first_seen,
    MAX(CASE WHEN seen.trait = 'net' THEN seen.last_ts END) AS last_seen,
    SUM(CASE WHEN seen.trait = 'net' THEN seen.requests END) AS requests,
    SUM(CASE WHEN seen.trait = 'net' THEN seen.cost_nusd END) AS cost_nusd
  FROM seen
  LEFT JOIN known ON known.day = seen.day AND known.scope = 'owner' AND known.entity = seen.owner
    AND known.trait = seen.trait AND known.value = seen.value
  WHERE known.value IS NULL
  GROUP BY seen.hour, seen.day, seen.key_id, seen.owner
),
addressed AS (
  SELECT day, entity FROM known WHERE scope = 'key' AND trait = 'asn' GROUP BY day, entity
)
SELECT 'key:' || novel.key_id AS entity, novel.first_seen, novel.last_seen, novel.requests AS count,
  CASE WHEN of_key.entity IS NULL THEN 'info'
    WHEN novel.kinds > 0 OR (addressed.entity IS NULL AND novel.clients > 0) THEN 'medium'
    ELSE 'low' END AS severity,
  novel.networks, novel.operators, novel.kinds, novel.clients, novel.cost_nusd
FROM novel
LEFT JOIN addressed ON addressed.day = novel.day AND addressed.entity = novel.key_id
LEFT JOIN baselines AS of_key ON of_key.day = novel.day AND of_key.scope = 'key' AND of_key.entity = novel.key_id
  AND of_key.mature = 1
JOIN baselines AS of_owner ON of_owner.day = novel.day AND of_owner.scope = 'owner'
  AND of_owner.entity = novel.owner AND of_owner.mature = 1
WHERE novel.networks > 0 AND (addressed.entity IS NULL OR novel.operators > 0)
