-- API keys of Bedrock that were made or made anew, other credentials for their users, and what these users do beside Bedrock.
WITH acts AS (
  SELECT ts, account, principal, provider_key_id, service, action, owner, target_id, region, src_net, client,
    CASE
      WHEN principal LIKE '%:user/BedrockAPIKey-%' AND service NOT LIKE 'bedrock%' THEN ts
      WHEN outcome = 'ok' AND change = 'created' AND target_kind IN ('access_key', 'login_profile')
        AND target_id LIKE 'BedrockAPIKey-%' THEN ts
    END AS grown_ts,
    CASE
      WHEN outcome = 'ok' AND change = 'created' AND target_kind = 'service_credential' AND markers LIKE '%bedrock_key%'
        THEN ts
      WHEN outcome = 'ok' AND action = 'ResetServiceSpecificCredential' AND target_id LIKE 'BedrockAPIKey-%' THEN ts
    END AS made_ts
  FROM events
  WHERE source = 'cloudtrail' AND principal <> ''
)
SELECT
  'principal:' || principal AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE WHEN COUNT(grown_ts) > 0 THEN 'high' ELSE 'medium' END AS severity,
  principal AS cause,
  account,
  MIN(provider_key_id) AS access_key,
  MIN(action) AS act,
  COUNT(DISTINCT action) AS acts,
  MIN(service) AS service,
  MIN(target_id) AS target,
  MIN(region) AS region,
  MIN(src_net) AS network,
  MIN(client) AS client
FROM acts
WHERE made_ts IS NOT NULL OR grown_ts IS NOT NULL
GROUP BY principal, account, ts - mod(ts, 86400000000)
