-- Unusual volume beside another finding about the same principal, within a day.
WITH novelties AS (
  SELECT entity, detection, first_seen, last_seen, CASE WHEN severity <> 'medium' THEN first_seen END AS loud_ts
  FROM findings
  WHERE severity IN ('medium', 'high', 'critical') AND detection IN (
      'bedrock_token_probe', 'bedrock_model_spray', 'bedrock_region_spray', 'bedrock_new_region', 'bedrock_logging_recon',
      'bedrock_console_api', 'bedrock_recon_then_invoke', 'bedrock_odd_agent', 'orp_agent_split', 'bedrock_heartbeat',
      'bearer_key_new_source', 'bedrock_distributed_use', 'bedrock_rotating_addresses'
    )
    AND (detection <> 'bedrock_recon_then_invoke' OR severity <> 'medium')
)
SELECT
  volume.entity,
  MIN(volume.first_seen) AS first_seen,
  MAX(volume.last_seen) AS last_seen,
  MAX(volume.count) AS count,
  CASE WHEN COUNT(novelties.loud_ts) > 0 THEN 'critical' ELSE 'high' END AS severity,
  COUNT(DISTINCT novelties.detection) AS signs,
  MIN(novelties.detection) AS beside,
  MAX(novelties.detection) AS also
FROM findings AS volume
JOIN novelties ON novelties.entity = volume.entity
  AND novelties.first_seen <= volume.last_seen + 86400000000 AND novelties.last_seen >= volume.first_seen - 86400000000
WHERE volume.detection = 'bedrock_volume' AND volume.severity IN ('medium', 'high')
GROUP BY volume.entity, volume.first_seen - mod(volume.first_seen, 86400000000)
