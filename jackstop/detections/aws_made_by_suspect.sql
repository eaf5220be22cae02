-- Users, credentials, roles and rights that a principal made within a day of another finding about it.
WITH acts AS (
  SELECT ts, account, principal, provider_key_id, action, target_kind, target_id, owner, region, src_net, client,
    CASE WHEN action = 'CreatePolicy' AND target_id = 'New_Policy' THEN ts END AS jinx_ts
  FROM events
  WHERE source = 'cloudtrail' AND principal <> '' AND outcome = 'ok' AND change IN ('created', 'attached', 'enabled')
    AND action_class IN ('key_admin', 'people_admin')
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
  SELECT acts.ts, acts.account, acts.principal, acts.provider_key_id, acts.action, acts.target_kind, acts.target_id,
    acts.owner, acts.region, acts.src_net, acts.client, acts.jinx_ts,
    MIN(alarms.detection) AS detection, COUNT(alarms.loud_ts) AS loud
  FROM acts
  LEFT JOIN alarms ON alarms.entity = 'principal:' || acts.principal
    AND alarms.first_seen <= acts.ts + 86400000000 AND alarms.last_seen >= acts.ts - 86400000000
  GROUP BY acts.ts, acts.account, acts.principal, acts.provider_key_id, acts.action, acts.target_kind, acts.target_id,
    acts.owner, acts.region, acts.src_net, acts.client, acts.jinx_ts
)
SELECT
  'principal:' || principal AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE WHEN SUM(loud) > 0 THEN 'high' ELSE 'medium' END AS severity,
  principal AS cause,
  account,
  MIN(provider_key_id) AS access_key,
  MIN(action) AS act,
  COUNT(DISTINCT action) AS acts,
  MIN(target_kind) AS what,
  MIN(target_id) AS target,
  COUNT(DISTINCT target_id) AS targets,
  MIN(CASE WHEN owner <> '' THEN owner END) AS for_user,
  MIN(region) AS region,
  MIN(src_net) AS network,
  MIN(client) AS client,
  MIN(detection) AS beside
FROM beside
WHERE detection IS NOT NULL OR jinx_ts IS NOT NULL
GROUP BY principal, account, ts - mod(ts, 86400000000)
