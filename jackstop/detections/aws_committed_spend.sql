-- What commits spending or raises its limits, by whoever had or had not done so before.
WITH accounts AS (
  SELECT account, MIN(ts) AS account_ts FROM events WHERE source = 'cloudtrail' GROUP BY account
),
acts AS (
  SELECT ts, account, principal, provider_key_id, action, target_kind, target_id, model_asked, region, src_net, client,
    ts - lag(ts) OVER (PARTITION BY principal ORDER BY ts) AS gap
  FROM events
  WHERE source = 'cloudtrail' AND principal <> '' AND outcome = 'ok' AND change IN ('created', 'updated')
    AND (action_class = 'commit_spend' OR target_kind IN ('marketplace_agreement', 'quota'))
),
spells AS (
  SELECT ts, account, principal, provider_key_id, action, target_kind, target_id, model_asked, region, src_net, client,
    MAX(CASE WHEN gap IS NULL OR gap > 7776000000000 THEN ts END) OVER (PARTITION BY principal ORDER BY ts) AS began
  FROM acts
),
judged AS (
  SELECT spells.ts, spells.account, spells.principal, spells.provider_key_id, spells.action, spells.target_kind,
    spells.target_id, spells.model_asked, spells.region, spells.src_net, spells.client,
    CASE WHEN spells.ts - spells.began < 86400000000 THEN spells.ts END AS new_ts,
    CASE WHEN spells.target_kind <> 'quota' THEN spells.ts END AS bought_ts,
    CASE WHEN accounts.account_ts <= spells.ts - 604800000000 THEN spells.ts END AS known_ts
  FROM spells
  JOIN accounts ON accounts.account = spells.account
)
SELECT
  'principal:' || principal AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE
    WHEN COUNT(new_ts) = 0 THEN 'low'
    WHEN COUNT(known_ts) > 0 AND COUNT(bought_ts) > 0 THEN 'high'
    WHEN COUNT(known_ts) > 0 OR COUNT(bought_ts) > 0 THEN 'medium'
    ELSE 'low'
  END AS severity,
  principal AS cause,
  account,
  MIN(provider_key_id) AS access_key,
  MIN(action) AS act,
  COUNT(DISTINCT action) AS acts,
  MIN(target_kind) AS what,
  MIN(target_id) AS target,
  MIN(model_asked) AS model,
  MIN(region) AS region,
  COUNT(DISTINCT region) AS regions,
  MIN(src_net) AS network,
  MIN(client) AS client,
  CASE WHEN COUNT(known_ts) > 0 THEN 'known' ELSE 'unproven' END AS history
FROM judged
GROUP BY principal, account, ts - mod(ts, 86400000000)
