-- Keys that one user agent used from 25 addresses within a day.
SELECT
  'principal:' || principal AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  principal AS cause,
  account,
  provider_key_id AS access_key,
  COUNT(DISTINCT src_ip) AS addresses,
  COUNT(DISTINCT src_net) AS networks,
  COUNT(DISTINCT model_asked) AS models,
  user_agent AS agent,
  MIN(src_net) AS network
FROM events
WHERE source = 'cloudtrail' AND principal <> '' AND key_kind IN ('long_lived', 'bearer') AND src_ip <> ''
  AND (service LIKE 'bedrock%' OR service = 'aws-external-anthropic')
GROUP BY principal, account, provider_key_id, user_agent, ts - mod(ts, 86400000000)
HAVING COUNT(DISTINCT src_ip) >= 25
