-- Data that a principal read within a day of another finding about it.
WITH reads AS (
  SELECT principal, account, ts - mod(ts, 3600000000) AS hour, MIN(ts) AS first_ts, MAX(ts) AS last_ts, COUNT(*) AS acts,
    SUM(CASE WHEN target_kind IN ('secret', 'parameter') THEN 1 ELSE 0 END) AS secrets,
    SUM(CASE WHEN target_kind = 'object' THEN 1 ELSE 0 END) AS objects,
    SUM(CASE WHEN target_kind = 'knowledge_base' THEN 1 ELSE 0 END) AS knowledge_bases,
    MIN(target_id) AS target, MIN(provider_key_id) AS access_key, MIN(src_net) AS network
  FROM events
  WHERE source = 'cloudtrail' AND principal <> '' AND action_class = 'data_read' AND outcome = 'ok'
  GROUP BY principal, account, ts - mod(ts, 3600000000)
),
alarms AS (
  SELECT entity, detection, first_seen, last_seen, CASE WHEN severity <> 'medium' THEN first_seen END AS loud_ts
  FROM findings
  WHERE severity IN ('medium', 'high', 'critical') AND detection IN (
      'bedrock_token_probe', 'bedrock_model_spray', 'bedrock_region_spray', 'bedrock_new_region', 'bedrock_logging_recon',
      'bedrock_console_api', 'bedrock_recon_then_invoke', 'bedrock_odd_agent', 'orp_agent_split', 'bedrock_heartbeat',
      'bedrock_mantle', 'bearer_key_new_source', 'bedrock_key_lifecycle', 'aws_logging_tampering',
      'bedrock_access_by_newcomer', 'bedrock_distributed_use', 'bedrock_rotating_addresses', 'bedrock_volume',
      'aws_committed_spend'
    )
),
beside AS (
  SELECT reads.principal, reads.account, reads.hour, reads.first_ts, reads.last_ts, reads.acts, reads.secrets, reads.objects,
    reads.knowledge_bases, reads.target, reads.access_key, reads.network,
    MIN(alarms.detection) AS detection, COUNT(alarms.loud_ts) AS loud
  FROM reads
  JOIN alarms ON alarms.entity = 'principal:' || reads.principal
    AND alarms.first_seen <= reads.last_ts + 86400000000 AND alarms.last_seen >= reads.first_ts - 86400000000
  GROUP BY reads.principal, reads.account, reads.hour, reads.first_ts, reads.last_ts, reads.acts, reads.secrets,
    reads.objects, reads.knowledge_bases, reads.target, reads.access_key, reads.network
)
SELECT
  'principal:' || principal AS entity,
  MIN(first_ts) AS first_seen,
  MAX(last_ts) AS last_seen,
  SUM(acts) AS count,
  CASE WHEN SUM(loud) > 0 THEN 'high' ELSE 'medium' END AS severity,
  principal AS cause,
  account,
  MIN(access_key) AS access_key,
  SUM(secrets) AS secrets,
  SUM(objects) AS objects,
  SUM(knowledge_bases) AS knowledge_bases,
  MIN(target) AS target,
  MIN(network) AS network,
  MIN(detection) AS beside
FROM beside
GROUP BY principal, account, hour - mod(hour, 86400000000)
