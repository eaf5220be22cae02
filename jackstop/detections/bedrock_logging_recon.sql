-- Questions whether Bedrock's calls are logged, beside the calls of models by the same principal.
WITH accounts AS (
  SELECT account, MIN(ts) AS account_ts FROM events WHERE source = 'cloudtrail' GROUP BY account
),
calls AS (
  SELECT ts, account, principal, provider_key_id, key_kind, principal_kind, auth_method, action, region, src_net, client,
    CASE WHEN action_class = 'inference' THEN ts END AS invoked_ts,
    ts - lag(ts) OVER (PARTITION BY principal, action_class ORDER BY ts) AS gap
  FROM events
  WHERE source = 'cloudtrail' AND principal <> '' AND principal_kind <> 'service'
    AND principal NOT LIKE '%:role/aws-service-role/%'
    AND (action = 'GetModelInvocationLoggingConfiguration' OR action_class = 'inference')
),
beside AS (
  SELECT ts, account, principal, provider_key_id, key_kind, principal_kind, auth_method, action, region, src_net, client,
    MAX(invoked_ts) OVER (PARTITION BY principal ORDER BY ts) AS before_ts,
    MIN(invoked_ts) OVER (PARTITION BY principal ORDER BY ts DESC) AS after_ts,
    MAX(CASE WHEN invoked_ts IS NULL AND (gap IS NULL OR gap > 7776000000000) THEN ts END)
      OVER (PARTITION BY principal ORDER BY ts) AS began
  FROM calls
),
judged AS (
  SELECT beside.ts, beside.account, beside.principal, beside.provider_key_id, beside.region, beside.src_net, beside.client,
    CASE WHEN accounts.account_ts <= beside.ts - 604800000000 THEN beside.ts END AS known_ts,
    CASE
      WHEN beside.auth_method <> 'console' AND beside.ts - beside.began < 86400000000 AND (
        beside.key_kind IN ('long_lived', 'bearer') OR beside.principal_kind IN ('user', 'root')
        OR accounts.account_ts <= beside.ts - 604800000000
      ) THEN beside.ts
    END AS firm_ts,
    CASE
      WHEN beside.ts - beside.before_ts <= 1800000000 OR beside.after_ts - beside.ts <= 1800000000 THEN beside.ts
    END AS near_ts
  FROM beside
  JOIN accounts ON accounts.account = beside.account
  WHERE beside.action = 'GetModelInvocationLoggingConfiguration' AND (
    beside.ts - beside.began < 86400000000
    OR beside.key_kind IN ('long_lived', 'bearer') OR beside.principal_kind IN ('user', 'root')
  )
)
SELECT
  'principal:' || principal AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE
    WHEN COUNT(firm_ts) > 0 AND COUNT(near_ts) > 0 THEN 'high'
    WHEN COUNT(firm_ts) > 0 OR COUNT(near_ts) > 0 THEN 'medium'
    ELSE 'low'
  END AS severity,
  principal AS cause,
  account,
  MIN(provider_key_id) AS access_key,
  COUNT(near_ts) AS beside_calls,
  MIN(region) AS region,
  COUNT(DISTINCT region) AS regions,
  MIN(src_net) AS network,
  MIN(client) AS client,
  CASE WHEN COUNT(known_ts) > 0 THEN 'known' ELSE 'unproven' END AS history
FROM judged
GROUP BY principal, account, ts - mod(ts, 86400000000)
