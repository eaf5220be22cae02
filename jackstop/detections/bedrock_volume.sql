-- Hours with 500 successful calls or more, beside what was the principal's busiest hour on earlier days.
WITH accounts AS (
  SELECT account, MIN(ts) AS account_ts FROM events WHERE source IN ('cloudtrail', 'bedrock_invocations') GROUP BY account
),
places AS (
  SELECT source, account, principal, src_net, ts - mod(ts, 3600000000) AS hour, COUNT(*) AS calls,
    MIN(ts) AS first_ts, MAX(ts) AS last_ts, MIN(provider_key_id) AS access_key, MIN(model_asked) AS model,
    MIN(region) AS region, MIN(client) AS client
  FROM events
  WHERE source IN ('cloudtrail', 'bedrock_invocations') AND principal <> '' AND action_class = 'inference'
    AND outcome = 'ok' AND action <> 'CountTokens'
  GROUP BY source, account, principal, src_net, ts - mod(ts, 3600000000)
),
aged AS (
  SELECT source, account, principal, src_net, hour, calls, first_ts, last_ts, access_key, model, region, client,
    MIN(first_ts) OVER (PARTITION BY source, principal) AS principal_ts,
    MIN(first_ts) OVER (PARTITION BY source, principal, src_net) AS place_ts
  FROM places
),
hours AS (
  SELECT source, account, principal, hour, principal_ts, SUM(calls) AS calls, MIN(first_ts) AS first_ts,
    MAX(last_ts) AS last_ts, MIN(access_key) AS access_key, MIN(model) AS model, MIN(region) AS region,
    MIN(client) AS client, MIN(src_net) AS network,
    SUM(CASE WHEN src_net <> '' AND hour - place_ts < 86400000000 THEN calls ELSE 0 END) AS new_place_calls
  FROM aged
  GROUP BY source, account, principal, hour, principal_ts
),
days AS (
  SELECT source, principal, hour - mod(hour, 86400000000) AS day, MAX(calls) AS busiest
  FROM hours
  GROUP BY source, principal, hour - mod(hour, 86400000000)
),
usual AS (
  SELECT source, principal, day,
    MAX(busiest) OVER (PARTITION BY source, principal ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
      AS busiest_before,
    COUNT(*) OVER (PARTITION BY source, principal ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
      AS days_before
  FROM days
)
SELECT
  'principal:' || hours.principal AS entity,
  hours.first_ts AS first_seen,
  hours.last_ts AS last_seen,
  hours.calls AS count,
  CASE
    WHEN hours.hour - hours.principal_ts < 86400000000 OR hours.new_place_calls >= 500 THEN
      CASE WHEN accounts.account_ts <= hours.hour - 604800000000 THEN 'high' ELSE 'medium' END
    WHEN usual.days_before >= 5 THEN 'medium'
    ELSE 'low'
  END AS severity,
  hours.principal AS cause,
  hours.account,
  hours.access_key,
  COALESCE(usual.busiest_before, 0) AS busiest_before,
  usual.days_before,
  hours.new_place_calls,
  hours.model,
  hours.region,
  hours.network,
  hours.client,
  CASE WHEN accounts.account_ts <= hours.hour - 604800000000 THEN 'known' ELSE 'unproven' END AS history
FROM hours
JOIN usual ON usual.source = hours.source AND usual.principal = hours.principal
  AND usual.day = hours.hour - mod(hours.hour, 86400000000)
JOIN accounts ON accounts.account = hours.account
WHERE hours.calls >= 500 AND (
  hours.hour - hours.principal_ts < 86400000000 OR hours.new_place_calls >= 500 OR hours.calls > 3 * usual.busiest_before
)
