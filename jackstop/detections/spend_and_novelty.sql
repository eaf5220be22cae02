-- Spending above what is usual, and within a day something about the key that is new. Only a probe, a canary or a new
-- network make it critical: a release changes model, client and volume together.
SELECT
  s.entity,
  MIN(s.first_seen) AS first_seen,
  MAX(s.last_seen) AS last_seen,
  COUNT(DISTINCT n.detection) AS count,
  CASE
    WHEN COUNT(CASE WHEN n.detection NOT IN ('model_spray', 'dearer_model', 'odd_client') THEN n.detection END) > 0
      THEN 'critical'
    WHEN COUNT(DISTINCT n.detection) >= 2 THEN 'high'
    ELSE 'medium'
  END AS severity,
  MIN(s.detection) AS spending,
  MIN(n.detection) AS new,
  MAX(n.detection) AS also_new
FROM findings AS s
JOIN findings AS n
  ON n.entity = s.entity
  AND n.last_seen >= s.first_seen - 86400000000
  AND n.first_seen <= s.first_seen + 86400000000
  AND n.detection IN (
    'checker_probe', 'invalid_token_limit', 'canary_used', 'many_networks', 'distributed_use', 'stranger',
    'new_network', 'model_spray', 'dearer_model', 'odd_client'
  )
  AND n.severity IN ('medium', 'high', 'critical')
WHERE s.detection IN ('spend_velocity', 'spend_sustained', 'ramp')
GROUP BY s.entity, s.first_seen - mod(s.first_seen, 3600000000)
