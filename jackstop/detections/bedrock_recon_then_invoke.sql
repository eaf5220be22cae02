-- Successful calls of models within fifteen minutes after the same principal listed models.
WITH accounts AS (
  SELECT account, MIN(ts) AS account_ts FROM events WHERE source = 'cloudtrail' GROUP BY account
),
calls AS (
  SELECT ts, account, principal, provider_key_id, key_kind, action, action_class, model_asked, region, src_net, client,
    ts - lag(ts) OVER (PARTITION BY principal, action_class ORDER BY ts) AS gap
  FROM events
  WHERE source = 'cloudtrail' AND principal <> '' AND principal_kind <> 'service'
    AND (service LIKE 'bedrock%' OR service = 'aws-external-anthropic')
    AND (action_class = 'list_models' OR (action_class = 'inference' AND outcome = 'ok'))
),
after_lists AS (
  SELECT ts, account, principal, provider_key_id, key_kind, action, action_class, model_asked, region, src_net, client,
    MAX(CASE WHEN action_class = 'list_models' THEN ts END) OVER (PARTITION BY principal ORDER BY ts) AS listed_ts,
    MAX(CASE WHEN action_class = 'inference' AND (gap IS NULL OR gap > 7776000000000) THEN ts END)
      OVER (PARTITION BY principal ORDER BY ts) AS began,
    MAX(CASE WHEN action_class = 'list_models' AND (gap IS NULL OR gap > 7776000000000) THEN ts END)
      OVER (PARTITION BY principal ORDER BY ts) AS list_began
  FROM calls
),
judged AS (
  SELECT calls.ts, calls.account, calls.principal, calls.provider_key_id, calls.action, calls.model_asked, calls.region,
    calls.src_net, calls.client, calls.listed_ts,
    CASE WHEN calls.key_kind IN ('long_lived', 'bearer') THEN calls.ts END AS static_ts,
    CASE WHEN calls.ts - calls.began < 86400000000 THEN calls.ts END AS new_ts,
    CASE WHEN calls.listed_ts - calls.list_began < 86400000000 THEN calls.ts END AS first_list_ts,
    CASE WHEN accounts.account_ts <= calls.ts - 604800000000 THEN calls.ts END AS known_ts
  FROM after_lists AS calls
  JOIN accounts ON accounts.account = calls.account
  WHERE calls.action_class = 'inference' AND calls.ts - calls.listed_ts <= 900000000
    AND (calls.key_kind IN ('long_lived', 'bearer') OR calls.ts - calls.began < 86400000000)
)
SELECT
  'principal:' || principal AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE
    WHEN COUNT(new_ts) > 0 AND COUNT(static_ts) > 0 THEN 'high'
    WHEN COUNT(new_ts) > 0 AND COUNT(known_ts) > 0 THEN 'medium'
    WHEN COUNT(first_list_ts) > 0 AND COUNT(static_ts) > 0 AND COUNT(known_ts) > 0 THEN 'medium'
    ELSE 'low'
  END AS severity,
  principal AS cause,
  account,
  MIN(provider_key_id) AS access_key,
  MIN(listed_ts) AS listed,
  MIN(action) AS act,
  COUNT(DISTINCT model_asked) AS models,
  MIN(model_asked) AS model,
  MIN(region) AS region,
  MIN(src_net) AS network,
  MIN(client) AS client,
  CASE WHEN COUNT(known_ts) > 0 THEN 'known' ELSE 'unproven' END AS history
FROM judged
GROUP BY principal, account, ts - mod(ts, 86400000000)
