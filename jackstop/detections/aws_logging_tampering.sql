-- Logs and guardrails that were switched off, narrowed or changed, by whoever had or had not done so before.
WITH accounts AS (
  SELECT account, MIN(ts) AS account_ts FROM events WHERE source = 'cloudtrail' GROUP BY account
),
acts AS (
  SELECT ts, account, principal, provider_key_id, action, target_kind, target_id, region, src_net, client,
    CASE WHEN change <> 'updated' OR markers LIKE '%narrowed%' THEN ts END AS off_ts,
    ts - lag(ts) OVER (PARTITION BY principal ORDER BY ts) AS gap
  FROM events
  WHERE source = 'cloudtrail' AND principal <> '' AND outcome = 'ok'
    AND action_class IN ('change_logging', 'change_guardrail')
    AND (target_kind <> 'log_group' OR target_id LIKE '%bedrock%nvocation%')
    AND (
      change IN ('deleted', 'stopped', 'disabled') OR markers LIKE '%narrowed%'
      OR (change = 'updated' AND target_kind IN ('invocation_logging', 'guardrail', 'organization_policy'))
    )
),
spells AS (
  SELECT ts, account, principal, provider_key_id, action, target_kind, target_id, region, src_net, client, off_ts,
    MAX(CASE WHEN gap IS NULL OR gap > 7776000000000 THEN ts END) OVER (PARTITION BY principal ORDER BY ts) AS began
  FROM acts
),
judged AS (
  SELECT spells.ts, spells.account, spells.principal, spells.provider_key_id, spells.action, spells.target_kind,
    spells.target_id, spells.region, spells.src_net, spells.client, spells.off_ts,
    CASE WHEN spells.ts - spells.began < 86400000000 THEN spells.ts END AS new_ts,
    CASE WHEN accounts.account_ts <= spells.ts - 604800000000 THEN spells.ts END AS known_ts
  FROM spells
  JOIN accounts ON accounts.account = spells.account
  WHERE spells.off_ts IS NOT NULL OR spells.ts - spells.began < 86400000000
)
SELECT
  'principal:' || principal AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE
    WHEN COUNT(off_ts) > 0 AND COUNT(new_ts) > 0 THEN 'high'
    WHEN COUNT(off_ts) > 0 OR COUNT(known_ts) > 0 THEN 'medium'
    ELSE 'low'
  END AS severity,
  principal AS cause,
  account,
  MIN(provider_key_id) AS access_key,
  MIN(action) AS act,
  COUNT(DISTINCT action) AS acts,
  MIN(target_kind) AS what,
  MIN(target_id) AS target,
  MIN(region) AS region,
  MIN(src_net) AS network,
  MIN(client) AS client,
  CASE WHEN COUNT(known_ts) > 0 THEN 'known' ELSE 'unproven' END AS history
FROM judged
GROUP BY principal, account, ts - mod(ts, 86400000000)
