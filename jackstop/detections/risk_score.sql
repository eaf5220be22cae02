-- Signs of one key within a day, each kind once, with weights. A release that changes model, client and volume at once
-- stays below what is reported.
WITH signs AS (
  SELECT
    entity,
    first_seen,
    CASE
      WHEN detection = 'canary_used' THEN 'canary'
      WHEN detection IN ('checker_probe', 'invalid_token_limit') THEN 'probe'
      WHEN detection IN ('ramp', 'spend_velocity', 'spend_sustained', 'quota_saturation') THEN 'spending'
      WHEN detection IN ('model_spray', 'recheck_heartbeat', 'refused_elsewhere', 'key_rotation') THEN 'search'
      WHEN detection IN (
        'resale_shape', 'rewritten_shape', 'interleaved_conversations', 'prompt_explosion', 'shared_key',
        'end_user_fanout', 'refusal_surge'
      ) THEN 'shape'
      WHEN detection IN ('many_networks', 'distributed_use', 'stranger', 'interleaved_countries', 'new_network')
        AND severity IN ('medium', 'high', 'critical') THEN 'network'
      WHEN detection IN ('dearer_model', 'new_batch_or_upload', 'new_data_read') THEN 'model'
      WHEN detection = 'new_model' AND severity <> 'info' THEN 'model'
      WHEN detection = 'dormant_key' THEN 'age'
      WHEN detection = 'odd_client' THEN 'client'
      WHEN detection = 'new_client' AND severity <> 'info' THEN 'client'
      WHEN detection = 'flat_day' THEN 'hours'
    END AS kind
  FROM findings
),
moments AS (
  SELECT
    m.entity,
    m.first_seen,
    s.kind
  FROM signs AS m
  JOIN signs AS s
    ON s.entity = m.entity
    AND s.first_seen <= m.first_seen
    AND s.first_seen > m.first_seen - 86400000000
  WHERE m.kind IS NOT NULL
    AND s.kind IS NOT NULL
  GROUP BY m.entity, m.first_seen, s.kind
),
scores AS (
  SELECT
    entity,
    first_seen,
    COUNT(*) AS kinds,
    SUM(
      CASE kind
        WHEN 'canary' THEN 100
        WHEN 'probe' THEN 50
        WHEN 'spending' THEN 25
        WHEN 'search' THEN 20
        WHEN 'shape' THEN 20
        WHEN 'network' THEN 15
        WHEN 'model' THEN 15
        WHEN 'age' THEN 15
        WHEN 'client' THEN 10
        ELSE 5
      END
    ) AS score
  FROM moments
  GROUP BY entity, first_seen
)
SELECT
  entity,
  MIN(first_seen) AS first_seen,
  MAX(first_seen) AS last_seen,
  MAX(kinds) AS count,
  MAX(score) AS score
FROM scores
WHERE score >= 60
GROUP BY entity, first_seen - mod(first_seen, 86400000000)
