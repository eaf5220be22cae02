-- End users behind one key: one who takes many times what the others do, by the hour and, since of many end users an
-- hour keeps only some, by five minutes; and far more of them in five minutes than the busiest hour had.
WITH calls AS (
  SELECT ts - mod(ts, 300000000) AS start, key_id, end_user_fp AS end_user, COUNT(*) AS requests, MIN(ts) AS first_ts,
    MAX(ts) AS last_ts
  FROM events
  WHERE key_id <> '' AND end_user_fp <> ''
  GROUP BY ts - mod(ts, 300000000), key_id, end_user_fp
),
hourly AS (
  SELECT hour, key_id, value, SUM(requests) AS requests, MIN(first_ts) AS first_ts, MAX(last_ts) AS last_ts
  FROM sightings
  WHERE trait = 'end_user' AND value <> '…'
  GROUP BY hour, key_id, value
),
crowds AS (
  SELECT 5 AS minutes, start, key_id, COUNT(*) AS end_users, MAX(requests) AS most, SUM(requests) AS requests,
    MIN(first_ts) AS first_seen, MAX(last_ts) AS last_seen
  FROM calls
  GROUP BY start, key_id
  UNION ALL
  SELECT 60 AS minutes, hour AS start, key_id, COUNT(*) AS end_users, MAX(requests) AS most, SUM(requests) AS requests,
    MIN(first_ts) AS first_seen, MAX(last_ts) AS last_seen
  FROM hourly
  GROUP BY hour, key_id
),
dated AS (
  SELECT minutes, start - mod(start, 86400000000) AS day, key_id, end_users, most, requests, first_seen, last_seen
  FROM crowds
)
SELECT 'key:' || dated.key_id AS entity, dated.first_seen, dated.last_seen, dated.requests AS count,
  dated.minutes, dated.end_users, dated.most, COALESCE(usual.end_users_hour_max, 0) AS end_users_before
FROM dated
LEFT JOIN baselines AS usual ON usual.day = dated.day AND usual.scope = 'key' AND usual.entity = dated.key_id
  AND usual.mature = 1
WHERE (usual.entity IS NULL AND dated.end_users >= 20 AND dated.most >= 400)
  OR (usual.end_users_hour_max >= 5 AND dated.most >= 200
    AND dated.most * usual.end_users_hour_max >= 120 * usual.requests_10m_p99)
  OR (usual.end_users_hour_max >= 5 AND dated.minutes = 5 AND dated.most >= 50
    AND dated.most * usual.end_users_hour_max >= 10 * usual.requests_10m_p99)
  OR (usual.end_users_hour_max > 0 AND dated.end_users >= 100 AND dated.end_users > 5 * usual.end_users_hour_max)
