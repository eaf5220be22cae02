-- Five minutes that cost more than three times what they nearly always did in seven days, and at least 5 USD.
SELECT
  'key:' || m.key_id AS entity,
  MIN(m.first_ts) AS first_seen,
  MAX(m.last_ts) AS last_seen,
  SUM(m.requests) AS count,
  SUM(m.cost_nusd) AS cost_nusd,
  b.cost_5m_p99_nusd AS usual_nusd
FROM minutes AS m
JOIN baselines AS b
  ON b.day = m.first_ts - mod(m.first_ts, 86400000000)
  AND b.scope = 'key'
  AND b.entity = m.key_id
  AND b.mature = 1
GROUP BY m.key_id, m.first_ts - mod(m.first_ts, 300000000), b.cost_5m_p99_nusd
HAVING SUM(m.cost_nusd) >= 5000000000
  AND SUM(m.cost_nusd) > 3 * b.cost_5m_p99_nusd
