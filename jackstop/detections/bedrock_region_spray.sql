-- Calls of Bedrock in four regions within ten minutes, other than by AWS itself.
SELECT
  'principal:' || principal AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE WHEN COUNT(CASE WHEN action_class = 'inference' OR key_kind IN ('long_lived', 'bearer') THEN ts END) > 0
    THEN 'high' ELSE 'medium' END AS severity,
  principal AS cause,
  account,
  MIN(provider_key_id) AS access_key,
  COUNT(DISTINCT region) AS regions,
  MIN(region) AS region,
  COUNT(DISTINCT action) AS acts,
  MIN(action) AS act,
  MIN(src_net) AS network,
  MIN(client) AS client
FROM events
WHERE source = 'cloudtrail' AND principal <> '' AND principal_kind <> 'service'
  AND principal NOT LIKE '%:role/aws-service-role/%' AND service LIKE 'bedrock%' AND region <> ''
GROUP BY principal, account, ts - mod(ts, 600000000)
HAVING COUNT(DISTINCT region) >= 4
