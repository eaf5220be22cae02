-- Conversations of at least three turns that went on side by side within the hour, against all conversations of the
-- busiest hour that the key, or while it learns its owner, had in a week.
WITH seen AS (
  SELECT hour, key_id, owner, value, MIN(first_ts) AS first_ts, MAX(last_ts) AS last_ts, SUM(admitted) AS turns
  FROM sightings
  WHERE trait = 'conversation' AND value <> '…'
  GROUP BY hour, key_id, owner, value
  HAVING SUM(admitted) >= 3
),
ordered AS (
  SELECT hour, key_id, owner, first_ts, last_ts, turns,
    MAX(last_ts) OVER (PARTITION BY hour, key_id ORDER BY first_ts, value
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS last_before
  FROM seen
),
beside AS (
  SELECT hour - mod(hour, 86400000000) AS day, key_id, owner,
    SUM(CASE WHEN first_ts < last_before THEN 1 ELSE 0 END) + 1 AS conversations,
    SUM(turns) AS turns, MIN(first_ts) AS first_seen, MAX(last_ts) AS last_seen
  FROM ordered
  GROUP BY hour, key_id, owner
)
SELECT 'key:' || beside.key_id AS entity, beside.first_seen, beside.last_seen, beside.turns AS count,
  CASE WHEN of_key.entity IS NULL THEN 'low' ELSE 'medium' END AS severity,
  beside.conversations, COALESCE(of_key.conversations_hour_max, of_owner.conversations_hour_max)
    AS conversations_before
FROM beside
LEFT JOIN baselines AS of_key ON of_key.day = beside.day AND of_key.scope = 'key' AND of_key.entity = beside.key_id
  AND of_key.mature = 1
JOIN baselines AS of_owner ON of_owner.day = beside.day AND of_owner.scope = 'owner'
  AND of_owner.entity = beside.owner AND of_owner.mature = 1
WHERE beside.conversations >= 6
  AND beside.conversations >= 3 * COALESCE(of_key.conversations_hour_max, of_owner.conversations_hour_max)
