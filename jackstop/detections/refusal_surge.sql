-- Answers that the model or its guard declined, by the hour, against the worst hour that the key had in a week.
WITH hours AS (
  SELECT minute - mod(minute, 3600000000) AS hour, key_id, SUM(blocked) AS blocked, SUM(requests) AS requests,
    MIN(CASE WHEN blocked > 0 THEN first_ts END) AS first_seen,
    MAX(CASE WHEN blocked > 0 THEN last_ts END) AS last_seen
  FROM minutes
  GROUP BY minute - mod(minute, 3600000000), key_id
),
dated AS (
  SELECT hour - mod(hour, 86400000000) AS day, key_id, blocked, requests, first_seen, last_seen FROM hours
)
SELECT 'key:' || dated.key_id AS entity, dated.first_seen, dated.last_seen, dated.blocked AS count,
  dated.requests, COALESCE(usual.blocked_hour_max, 0) AS blocked_before
FROM dated
LEFT JOIN baselines AS usual ON usual.day = dated.day AND usual.scope = 'key' AND usual.entity = dated.key_id
  AND usual.mature = 1
WHERE (usual.entity IS NULL AND dated.blocked >= 30)
  OR (dated.blocked >= 6 AND dated.blocked > 10 * usual.blocked_hour_max
    AND dated.blocked * 100 >= usual.requests_10m_max)
