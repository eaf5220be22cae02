-- Requests with marks of resale clients on a key whose requests have the shape of a resale proxy: streamed, no tools,
-- one small output cap, one order of headers. A key of which cap and headers are known from before is left alone.
WITH counted AS (
  SELECT minute - mod(minute, 3600000000) AS hour, key_id, SUM(marked) AS marked, SUM(streamed) AS streamed,
    SUM(requests) - SUM(with_tools) AS without_tools, SUM(cost_nusd) AS cost_nusd,
    MIN(CASE WHEN marked > 0 THEN first_ts END) AS first_seen, MAX(last_ts) AS last_seen
  FROM minutes
  GROUP BY minute - mod(minute, 3600000000), key_id
),
seen AS (
  SELECT hour, hour - mod(hour, 86400000000) AS day, key_id, trait, value, SUM(admitted) AS requests
  FROM sightings
  WHERE trait IN ('conversation', 'http')
    OR (trait = 'output_cap' AND value BETWEEN '100' AND '400' AND value LIKE '___')
  GROUP BY hour, key_id, trait, value
),
shaped AS (
  SELECT seen.hour, seen.day, seen.key_id,
    MAX(CASE WHEN seen.trait = 'output_cap' THEN seen.requests END) AS capped,
    MAX(CASE WHEN seen.trait = 'http' THEN seen.requests END) AS alike,
    SUM(CASE WHEN seen.trait = 'conversation' THEN 1 ELSE 0 END) AS conversations,
    SUM(CASE WHEN seen.trait <> 'conversation' AND known.value IS NULL THEN 1 ELSE 0 END) AS new_traits
  FROM seen
  LEFT JOIN known ON known.day = seen.day AND known.scope = 'key' AND known.entity = seen.key_id
    AND known.trait = seen.trait AND known.value = seen.value
  GROUP BY seen.hour, seen.day, seen.key_id
)
SELECT 'key:' || counted.key_id AS entity, counted.first_seen, counted.last_seen, counted.marked AS count,
  CASE WHEN shaped.conversations < 2 THEN 'medium'
    WHEN counted.marked >= 20 AND shaped.capped >= 20 AND shaped.conversations >= 5 THEN 'critical'
    ELSE 'high' END AS severity,
  shaped.capped, shaped.alike, shaped.conversations, shaped.new_traits, counted.streamed, counted.without_tools,
  counted.cost_nusd
FROM counted
JOIN shaped ON shaped.hour = counted.hour AND shaped.key_id = counted.key_id
LEFT JOIN baselines AS usual ON usual.day = shaped.day AND usual.scope = 'key' AND usual.entity = shaped.key_id
  AND usual.mature = 1
WHERE counted.marked >= 3 AND counted.streamed >= 5 AND counted.without_tools >= 6 AND shaped.capped >= 6
  AND shaped.alike >= 6 AND (usual.entity IS NULL OR shaped.new_traits > 0)
