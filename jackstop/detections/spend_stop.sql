-- Half of a day's budget within a quarter of an hour, where the key does not do so as a rule.
SELECT
  'key:' || q.key_id AS entity,
  q.first_seen,
  q.last_seen,
  q.requests AS count,
  CASE WHEN COUNT(f.detection) > 0 THEN 'critical' ELSE 'medium' END AS severity,
  q.cost_nusd,
  q.budget_day_nusd,
  COUNT(DISTINCT f.detection) AS signs,
  MIN(f.detection) AS sign
FROM (
  SELECT
    m.key_id,
    m.first_ts - mod(m.first_ts, 900000000) AS start,
    MIN(m.first_ts) AS first_seen,
    MAX(m.last_ts) AS last_seen,
    SUM(m.requests) AS requests,
    SUM(m.cost_nusd) AS cost_nusd,
    i.budget_day_nusd,
    b.mature
  FROM minutes AS m
  JOIN inventory AS i
    ON i.kind = 'key'
    AND i.id = m.key_id
    AND i.budget_day_nusd > 0
  LEFT JOIN baselines AS b
    ON b.day = m.first_ts - mod(m.first_ts, 86400000000)
    AND b.scope = 'key'
    AND b.entity = m.key_id
    AND b.mature = 1
  GROUP BY m.key_id, m.first_ts - mod(m.first_ts, 900000000), i.budget_day_nusd, b.mature, b.cost_10m_max_nusd
  HAVING SUM(m.cost_nusd) >= 5000000000
    AND 2 * SUM(m.cost_nusd) >= i.budget_day_nusd
    AND (b.mature IS NULL OR SUM(m.cost_nusd) > 3 * b.cost_10m_max_nusd)
) AS q
LEFT JOIN findings AS f
  ON f.entity = 'key:' || q.key_id
  AND f.last_seen >= q.start - 86400000000
  AND f.first_seen < q.start + 900000000
  AND (
    f.detection IN (
      'checker_probe', 'invalid_token_limit', 'canary_used', 'many_networks', 'distributed_use', 'stranger'
    )
    OR (f.detection = 'new_network' AND (q.mature IS NULL OR f.severity IN ('medium', 'high', 'critical')))
  )
GROUP BY q.key_id, q.first_seen, q.last_seen, q.requests, q.cost_nusd, q.budget_day_nusd
