-- Networks and client programs that a key used side by side within the hour: one began before another had ended.
WITH seen AS (
  SELECT hour, key_id, trait, value, MIN(first_ts) AS first_ts, MAX(last_ts) AS last_ts, SUM(requests) AS requests
  FROM sightings
  WHERE trait IN ('net', 'agent')
  GROUP BY hour, key_id, trait, value
),
ordered AS (
  SELECT hour, key_id, trait, first_ts, last_ts, requests,
    MAX(last_ts) OVER (PARTITION BY hour, key_id, trait ORDER BY first_ts, value
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS last_before
  FROM seen
),
beside AS (
  SELECT hour, hour - mod(hour, 86400000000) AS day, key_id,
    1 + SUM(CASE WHEN trait = 'net' AND first_ts < last_before THEN 1 ELSE 0 END) AS networks,
    1 + SUM(CASE WHEN trait = 'agent' AND first_ts < last_before THEN 1 ELSE 0 END) AS programs,
    MIN(first_ts) AS first_seen, MAX(last_ts) AS last_seen,
    SUM(CASE WHEN trait = 'net' THEN requests ELSE 0 END) AS requests
  FROM ordered
  GROUP BY hour, key_id
)
SELECT 'key:' || beside.key_id AS entity, beside.first_seen, beside.last_seen, beside.requests AS count,
  beside.networks, beside.programs
FROM beside
JOIN baselines AS usual ON usual.day = beside.day AND usual.scope = 'key' AND usual.entity = beside.key_id
  AND usual.mature = 1 AND usual.nets_hour_max <= 1
WHERE beside.networks >= 3 AND beside.programs >= 3
