-- One small output cap that the key never asked for, under one order of headers, streamed and without tools, for
-- several conversations: what a proxy makes of whatever its buyers send. Many new system prompts beside say more.
WITH counted AS (
  SELECT minute - mod(minute, 3600000000) AS hour, key_id, SUM(streamed) AS streamed,
    SUM(requests) - SUM(with_tools) AS without_tools, SUM(cost_nusd) AS cost_nusd
  FROM minutes
  GROUP BY minute - mod(minute, 3600000000), key_id
),
seen AS (
  SELECT hour, hour - mod(hour, 86400000000) AS day, key_id, trait, value, SUM(admitted) AS requests,
    MIN(first_ts) AS first_ts, MAX(last_ts) AS last_ts
  FROM sightings
  WHERE trait IN ('conversation', 'http', 'system')
    OR (trait = 'output_cap' AND value BETWEEN '100' AND '400' AND value LIKE '___')
  GROUP BY hour, key_id, trait, value
),
shaped AS (
  SELECT seen.hour, seen.day, seen.key_id,
    MAX(CASE WHEN seen.trait = 'output_cap' AND known.value IS NULL THEN seen.requests END) AS capped,
    MAX(CASE WHEN seen.trait = 'http' THEN seen.requests END) AS alike,
    SUM(CASE WHEN seen.trait = 'conversation' AND seen.requests >= 2 THEN 1 ELSE 0 END) AS conversations,
    SUM(CASE WHEN seen.trait = 'system' AND known.value IS NULL THEN 1 ELSE 0 END) AS prompts,
    MIN(CASE WHEN seen.trait = 'output_cap' AND known.value IS NULL THEN seen.first_ts END) AS first_seen,
    MAX(CASE WHEN seen.trait = 'output_cap' AND known.value IS NULL THEN seen.last_ts END) AS last_seen
  FROM seen
  LEFT JOIN known ON known.day = seen.day AND known.scope = 'key' AND known.entity = seen.key_id
    AND known.trait = seen.trait AND known.value = seen.value
  GROUP BY seen.hour, seen.day, seen.key_id
)
SELECT 'key:' || shaped.key_id AS entity, shaped.first_seen, shaped.last_seen, shaped.capped AS count,
  CASE WHEN shaped.prompts >= 8 AND shaped.prompts >= 3 * usual.systems_hour_max THEN 'high' ELSE 'medium' END
    AS severity,
  shaped.alike, shaped.conversations, shaped.prompts, usual.systems_hour_max AS prompts_before,
  counted.streamed, counted.without_tools, counted.cost_nusd
FROM shaped
JOIN counted ON counted.hour = shaped.hour AND counted.key_id = shaped.key_id
JOIN baselines AS usual ON usual.day = shaped.day AND usual.scope = 'key' AND usual.entity = shaped.key_id
  AND usual.mature = 1
WHERE shaped.capped >= 20 AND shaped.alike >= 20 AND shaped.conversations >= 4 AND counted.streamed >= 15
  AND counted.without_tools >= 20
