-- Spending above what is usual, and within a day something about the key that is new. Only a probe, a canary or a new
-- network make it critical: a release changes model, client and volume together.
SELECT
  s.entity,
  MIN(s.first_seen) AS first_seen,
  MAX(s.last_seen) AS last_seen,
  COUNT(DISTINCT n.detection) AS count,
  CASE WHEN COUNT(
    CASE
      WHEN n.detection IN ('checker_probe', 'invalid_token_limit', 'canary_used', 'many_networks', 'distributed_use')
        THEN n.detection
      WHEN n.detection = 'new_network' AND n.severity IN ('medium', 'high', 'critical') THEN n.detection
    END
  ) > 0 THEN 'critical' ELSE 'high' END AS severity,
  MIN(s.detection) AS spending,
  MIN(n.detection) AS new,
  MAX(n.detection) AS also_new
FROM findings AS s
JOIN findings AS n
  ON n.entity = s.entity
  AND n.last_seen >= s.first_seen - 86400000000
  AND n.first_seen <= s.first_seen + 86400000000
  AND (
    n.detection IN (
      'checker_probe', 'invalid_token_limit', 'canary_used', 'many_networks', 'distributed_use', 'model_spray',
      'dearer_model'
    )
    OR (n.detection IN ('new_network', 'odd_client') AND n.severity <> 'info')
  )
WHERE s.detection IN ('spend_velocity', 'spend_sustained', 'ramp')
GROUP BY s.entity, s.first_seen - mod(s.first_seen, 3600000000)
