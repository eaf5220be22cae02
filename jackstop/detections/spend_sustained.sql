-- Three times ten minutes in a row, each above three times the dearest ten minutes of seven days, and at least 1 USD.
SELECT
  'key:' || r.key_id AS entity,
  MIN(r.first_ts) AS first_seen,
  MAX(r.last_ts) AS last_seen,
  SUM(r.requests) AS count,
  MAX(r.cost_nusd) AS cost_10m_nusd,
  r.usual_nusd
FROM (
  SELECT
    t.key_id,
    t.first_ts,
    t.last_ts,
    t.requests,
    t.cost_nusd,
    t.usual_nusd,
    t.start - lag(t.start, 2) OVER (PARTITION BY t.key_id ORDER BY t.start) AS since_the_last_but_one
  FROM (
    SELECT
      m.key_id,
      m.first_ts - mod(m.first_ts, 600000000) AS start,
      MIN(m.first_ts) AS first_ts,
      MAX(m.last_ts) AS last_ts,
      SUM(m.requests) AS requests,
      SUM(m.cost_nusd) AS cost_nusd,
      b.cost_10m_max_nusd AS usual_nusd
    FROM minutes AS m
    JOIN baselines AS b
      ON b.day = m.first_ts - mod(m.first_ts, 86400000000)
      AND b.scope = 'key'
      AND b.entity = m.key_id
      AND b.mature = 1
    GROUP BY m.key_id, m.first_ts - mod(m.first_ts, 600000000), b.cost_10m_max_nusd
    HAVING SUM(m.cost_nusd) >= 1000000000
      AND SUM(m.cost_nusd) > 3 * b.cost_10m_max_nusd
  ) AS t
) AS r
WHERE r.since_the_last_but_one = 1200000000
GROUP BY r.key_id, r.first_ts - mod(r.first_ts, 3600000000), r.usual_nusd
