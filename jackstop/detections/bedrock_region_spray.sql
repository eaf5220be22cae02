-- Calls of Bedrock in four regions within ten minutes, other than by AWS itself.
-- Windows overlap by half, so that what takes half of one is never cut in two. What they find in a day is one
-- finding, with the count of the fullest.
WITH grids AS (SELECT 0 AS later UNION ALL SELECT 300000000 AS later)
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
CROSS JOIN grids
WHERE source = 'cloudtrail' AND principal <> '' AND principal_kind <> 'service'
  AND principal NOT LIKE '%:role/aws-service-role/%' AND region <> ''
  AND (service LIKE 'bedrock%' OR service = 'aws-external-anthropic')
GROUP BY principal, account, ts - mod(ts + later, 600000000)
HAVING COUNT(DISTINCT region) >= 4
