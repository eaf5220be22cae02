-- The provider throttles a key that asks three times as often as usual.
SELECT
  'key:' || e.key_id AS entity,
  MIN(e.ts) AS first_seen,
  MAX(e.ts) AS last_seen,
  COUNT(*) AS count,
  SUM(CASE WHEN e.outcome = 'throttled' AND e.decision <> 'refused' THEN 1 ELSE 0 END) AS throttled,
  b.requests_10m_p99 AS usual_10m_requests
FROM events AS e
JOIN baselines AS b
  ON b.day = e.ts - mod(e.ts, 86400000000)
  AND b.scope = 'key'
  AND b.entity = e.key_id
  AND b.mature = 1
GROUP BY e.key_id, e.ts - mod(e.ts, 300000000), b.requests_10m_p99
HAVING 2 * COUNT(*) > 3 * b.requests_10m_p99
  AND SUM(CASE WHEN e.outcome = 'throttled' AND e.decision <> 'refused' THEN 1 ELSE 0 END) >= 20
  AND 10 * SUM(CASE WHEN e.outcome = 'throttled' AND e.decision <> 'refused' THEN 1 ELSE 0 END) > 3 * b.requests_10m_p99
