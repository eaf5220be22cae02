-- Clients that no SDK is, on keys that did not have them within 30 days; and agents of known key checkers.
WITH accounts AS (
  SELECT account, MIN(ts) AS account_ts FROM events WHERE source = 'cloudtrail' GROUP BY account
),
calls AS (
  SELECT ts, account, principal, provider_key_id, key_kind, service, action, region, src_net, client, user_agent,
    CASE
      WHEN user_agent LIKE '%masscek%' OR user_agent LIKE '%bedrock-direct-test%' OR user_agent LIKE '%DeepAWSAnalyzer%'
        THEN ts
    END AS tool_ts,
    ts - lag(ts) OVER (PARTITION BY principal, provider_key_id, client ORDER BY ts) AS gap
  FROM events
  WHERE source = 'cloudtrail' AND principal <> '' AND key_kind IN ('long_lived', 'bearer')
    AND (
      client IN ('browser', 'none', 'axios', 'aiohttp', 'urllib3', 'requests', 'httpx', 'curl')
      OR user_agent LIKE '%masscek%' OR user_agent LIKE '%bedrock-direct-test%' OR user_agent LIKE '%DeepAWSAnalyzer%'
    )
),
spells AS (
  SELECT ts, account, principal, provider_key_id, key_kind, service, action, region, src_net, client, user_agent, tool_ts,
    MAX(CASE WHEN gap IS NULL OR gap > 2592000000000 THEN ts END)
      OVER (PARTITION BY principal, provider_key_id, client ORDER BY ts) AS began
  FROM calls
),
judged AS (
  SELECT spells.ts, spells.account, spells.principal, spells.provider_key_id, spells.service, spells.action,
    spells.region, spells.src_net, spells.client, spells.user_agent, spells.tool_ts,
    CASE WHEN accounts.account_ts <= spells.ts - 604800000000 THEN spells.ts END AS known_ts,
    CASE WHEN spells.service LIKE 'bedrock%' THEN spells.ts END AS model_ts,
    CASE WHEN spells.key_kind = 'long_lived' OR spells.client IN ('browser', 'none') THEN spells.ts END AS odd_ts
  FROM spells
  JOIN accounts ON accounts.account = spells.account
  WHERE spells.ts - spells.began < 86400000000 OR spells.tool_ts IS NOT NULL
)
SELECT
  'principal:' || principal AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE
    WHEN COUNT(tool_ts) > 0 THEN 'high'
    WHEN COUNT(model_ts) > 0 AND COUNT(known_ts) > 0 AND COUNT(odd_ts) > 0 THEN 'high'
    WHEN COUNT(model_ts) > 0 AND (COUNT(known_ts) > 0 OR COUNT(odd_ts) > 0) THEN 'medium'
    WHEN COUNT(known_ts) > 0 AND COUNT(odd_ts) > 0 THEN 'medium'
    ELSE 'low'
  END AS severity,
  principal AS cause,
  account,
  MIN(provider_key_id) AS access_key,
  MIN(client) AS client,
  MIN(user_agent) AS agent,
  MIN(service) AS service,
  MIN(action) AS act,
  MIN(region) AS region,
  MIN(src_net) AS network,
  CASE WHEN COUNT(known_ts) > 0 THEN 'known' ELSE 'unproven' END AS history
FROM judged
GROUP BY principal, account, ts - mod(ts, 86400000000)
