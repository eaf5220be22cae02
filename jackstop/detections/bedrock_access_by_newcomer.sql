-- Access to models that was opened by whoever had not called one until a day ago, and calls within the hour after.
WITH accounts AS (
  SELECT account, MIN(ts) AS account_ts FROM events WHERE source = 'cloudtrail' GROUP BY account
),
calls AS (
  SELECT ts, account, principal, provider_key_id, action, action_class, target_kind, model_asked, region, src_net, client,
    ts - lag(ts) OVER (PARTITION BY principal, action_class ORDER BY ts) AS gap
  FROM events
  WHERE source = 'cloudtrail' AND principal <> '' AND outcome = 'ok' AND (
    action_class = 'inference' OR (action_class = 'model_access' AND change IN ('created', 'updated'))
  )
),
beside AS (
  SELECT ts, account, principal, provider_key_id, action, action_class, target_kind, model_asked, region, src_net, client,
    MAX(CASE WHEN action_class = 'inference' THEN ts END) OVER (PARTITION BY principal ORDER BY ts) AS before_ts,
    MIN(CASE WHEN action_class = 'inference' THEN ts END) OVER (PARTITION BY principal ORDER BY ts DESC) AS after_ts,
    MAX(CASE WHEN action_class = 'inference' AND (gap IS NULL OR gap > 7776000000000) THEN ts END)
      OVER (PARTITION BY principal ORDER BY ts) AS began
  FROM calls
),
judged AS (
  SELECT beside.ts, beside.account, beside.principal, beside.provider_key_id, beside.action, beside.target_kind,
    beside.model_asked, beside.region, beside.src_net, beside.client,
    CASE WHEN beside.after_ts - beside.ts <= 3600000000 THEN beside.ts END AS used_ts,
    CASE WHEN accounts.account_ts <= beside.ts - 604800000000 THEN beside.ts END AS known_ts
  FROM beside
  JOIN accounts ON accounts.account = beside.account
  WHERE beside.action_class = 'model_access'
    AND (beside.before_ts IS NULL OR beside.ts - beside.before_ts > 7776000000000 OR beside.ts - beside.began < 86400000000)
)
SELECT
  'principal:' || principal AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE
    WHEN COUNT(used_ts) > 0 AND COUNT(known_ts) > 0 THEN 'high'
    WHEN COUNT(used_ts) > 0 OR COUNT(known_ts) > 0 THEN 'medium'
    ELSE 'low'
  END AS severity,
  principal AS cause,
  account,
  MIN(provider_key_id) AS access_key,
  MIN(action) AS act,
  COUNT(DISTINCT action) AS acts,
  COUNT(used_ts) AS used_within_the_hour,
  MAX(model_asked) AS model,
  MIN(region) AS region,
  MIN(src_net) AS network,
  MIN(client) AS client,
  CASE WHEN COUNT(known_ts) > 0 THEN 'known' ELSE 'unproven' END AS history
FROM judged
GROUP BY principal, account, ts - mod(ts, 86400000000)
