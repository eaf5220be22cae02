-- Calls of mantle by whoever began to within a day, in accounts where others use it or nobody.
WITH accounts AS (
  SELECT account, MIN(ts) AS account_ts FROM events WHERE source = 'cloudtrail' GROUP BY account
),
calls AS (
  SELECT ts, account, principal, provider_key_id, action, action_class, model_asked, region, src_net, client,
    ts - lag(ts) OVER (PARTITION BY principal ORDER BY ts) AS gap,
    MIN(ts) OVER (PARTITION BY account) AS mantle_ts
  FROM events
  WHERE source = 'cloudtrail' AND principal <> '' AND service = 'bedrock-mantle'
),
spells AS (
  SELECT ts, account, principal, provider_key_id, action, action_class, model_asked, region, src_net, client, mantle_ts,
    MAX(CASE WHEN gap IS NULL OR gap > 2592000000000 THEN ts END) OVER (PARTITION BY principal ORDER BY ts) AS began
  FROM calls
),
judged AS (
  SELECT spells.ts, spells.account, spells.principal, spells.provider_key_id, spells.action, spells.model_asked,
    spells.region, spells.src_net, spells.client,
    CASE WHEN spells.action_class = 'inference' THEN spells.ts END AS invoked_ts,
    CASE WHEN spells.ts - spells.mantle_ts < 86400000000 THEN spells.ts END AS first_ts,
    CASE WHEN accounts.account_ts <= spells.ts - 604800000000 THEN spells.ts END AS known_ts
  FROM spells
  JOIN accounts ON accounts.account = spells.account
  WHERE spells.ts - spells.began < 86400000000
)
SELECT
  'principal:' || principal AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE
    WHEN COUNT(first_ts) > 0 AND COUNT(known_ts) > 0 THEN 'high'
    WHEN COUNT(first_ts) > 0 OR COUNT(known_ts) > 0 THEN 'medium'
    ELSE 'low'
  END AS severity,
  principal AS cause,
  account,
  MIN(provider_key_id) AS access_key,
  COUNT(invoked_ts) AS invocations,
  MIN(action) AS act,
  MIN(model_asked) AS model,
  MIN(region) AS region,
  MIN(src_net) AS network,
  MIN(client) AS client,
  CASE WHEN COUNT(known_ts) > 0 THEN 'known' ELSE 'unproven' END AS history
FROM judged
GROUP BY principal, account, ts - mod(ts, 86400000000)
