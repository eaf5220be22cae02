-- System prompts that the key's owner, with whatever key, had not sent in 28 days, against the busiest hour that the
-- key, or while it learns its owner, had in a week.
WITH seen AS (
  SELECT hour, hour - mod(hour, 86400000000) AS day, key_id, owner, value, MIN(first_ts) AS first_ts,
    MAX(last_ts) AS last_ts, SUM(requests) AS requests
  FROM sightings
  WHERE trait = 'system' AND value <> '…'
  GROUP BY hour, key_id, owner, value
),
novel AS (
  SELECT seen.day, seen.key_id, seen.owner, COUNT(*) AS prompts, SUM(seen.requests) AS requests,
    MIN(seen.first_ts) AS first_seen, MAX(seen.last_ts) AS last_seen
  FROM seen
  LEFT JOIN known ON known.day = seen.day AND known.scope = 'owner' AND known.entity = seen.owner
    AND known.trait = 'system' AND known.value = seen.value
  WHERE known.value IS NULL
  GROUP BY seen.hour, seen.day, seen.key_id, seen.owner
)
SELECT 'key:' || novel.key_id AS entity, novel.first_seen, novel.last_seen, novel.requests AS count,
  CASE WHEN of_key.entity IS NULL THEN 'low' ELSE 'medium' END AS severity,
  novel.prompts, COALESCE(of_key.systems_hour_max, of_owner.systems_hour_max) AS prompts_before
FROM novel
LEFT JOIN baselines AS of_key ON of_key.day = novel.day AND of_key.scope = 'key' AND of_key.entity = novel.key_id
  AND of_key.mature = 1
JOIN baselines AS of_owner ON of_owner.day = novel.day AND of_owner.scope = 'owner'
  AND of_owner.entity = novel.owner AND of_owner.mature = 1
WHERE novel.prompts >= 8
  AND novel.prompts >= 3 * COALESCE(of_key.systems_hour_max, of_owner.systems_hour_max)
