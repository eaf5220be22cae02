-- A key that was issued long ago and not used for four weeks, while others were.
SELECT
  'key:' || m.key_id AS entity,
  MIN(m.first_ts) AS first_seen,
  MAX(m.last_ts) AS last_seen,
  SUM(m.requests - m.refused) AS count,
  SUM(m.cost_nusd) AS cost_nusd
FROM minutes AS m
JOIN inventory AS i
  ON i.kind = 'key'
  AND i.id = m.key_id
  AND i.canary = 0
  AND i.created_ts <= m.minute - mod(m.minute, 86400000000) - 2419200000000
JOIN baselines AS a
  ON a.day = m.minute - mod(m.minute, 86400000000)
  AND a.scope = 'org'
  AND a.age_days >= 21
LEFT JOIN baselines AS b
  ON b.day = m.minute - mod(m.minute, 86400000000)
  AND b.scope = 'key'
  AND b.entity = m.key_id
WHERE b.entity IS NULL
GROUP BY m.key_id, m.first_ts - mod(m.first_ts, 86400000000)
HAVING SUM(m.requests - m.refused) > 0
