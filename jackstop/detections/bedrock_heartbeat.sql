-- Checks that come back after 45 to 115 minutes, three times within a day.
WITH probes AS (
  SELECT ts, account, principal, provider_key_id, key_kind, action, model_asked, client, region, src_net,
    ts - lag(ts) OVER (PARTITION BY principal, provider_key_id, action, model_asked, client ORDER BY ts) AS gap
  FROM events
  WHERE source = 'cloudtrail' AND principal <> '' AND (
    action = 'GetModelInvocationLoggingConfiguration' OR (action_class = 'inference' AND outcome = 'invalid')
  )
)
SELECT
  'principal:' || principal AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE
    WHEN 20 * (MAX(gap) - MIN(gap)) < MIN(gap) THEN 'low'
    WHEN COUNT(CASE WHEN key_kind IN ('long_lived', 'bearer') THEN ts END) > 0 THEN 'high'
    ELSE 'medium'
  END AS severity,
  principal AS cause,
  account,
  provider_key_id AS access_key,
  action AS act,
  model_asked AS model,
  client,
  MIN(gap) AS shortest_us,
  MAX(gap) AS longest_us,
  MIN(region) AS region,
  MIN(src_net) AS network
FROM probes
WHERE gap >= 2700000000 AND gap <= 6900000000
GROUP BY principal, account, provider_key_id, action, model_asked, client, ts - mod(ts, 86400000000)
HAVING COUNT(*) >= 3
