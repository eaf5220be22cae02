-- Spending above what is usual in a provider's report, and within a day something about the key that is new. A day is
-- added before, since a report's bucket may be a day long and is dated by its beginning.
SELECT
  s.entity,
  MIN(s.first_seen) AS first_seen,
  MAX(s.last_seen) AS last_seen,
  COUNT(DISTINCT n.detection) AS count,
  CASE
    WHEN COUNT(DISTINCT n.detection) >= 2 OR COUNT(CASE WHEN n.severity = 'high' THEN n.detection END) > 0
      OR COUNT(CASE WHEN s.detection = 'usage_spend_stop' AND n.severity = 'medium' THEN n.detection END) > 0
      THEN 'critical'
    WHEN COUNT(CASE WHEN n.severity = 'medium' THEN n.detection END) > 0 THEN 'high'
    ELSE 'medium'
  END AS severity,
  MAX(s.detection) AS spending,
  MIN(n.detection) AS new,
  MAX(n.detection) AS also_new
FROM findings AS s
JOIN findings AS n
  ON n.entity = s.entity
  AND n.last_seen >= s.first_seen - 172800000000
  AND n.first_seen <= s.first_seen + 86400000000
  AND n.detection IN ('usage_dormant_key', 'usage_new_model', 'usage_large_requests')
  AND n.severity IN ('low', 'medium', 'high')
WHERE s.detection IN ('usage_spend_velocity', 'usage_spend_stop')
  AND s.severity IN ('medium', 'high')
GROUP BY s.entity, s.first_seen - mod(s.first_seen, 3600000000)
