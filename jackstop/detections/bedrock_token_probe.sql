-- Calls of a model with an output cap that cannot be meant, which only ask whether the credentials open it.
SELECT
  'principal:' || principal AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE WHEN COUNT(DISTINCT model_asked) >= 2 OR COUNT(DISTINCT region) >= 2 THEN 'high' ELSE 'medium' END AS severity,
  principal AS cause,
  account,
  MIN(provider_key_id) AS access_key,
  COUNT(DISTINCT model_asked) AS models,
  MIN(model_asked) AS model,
  COUNT(DISTINCT region) AS regions,
  MIN(region) AS region,
  MIN(src_net) AS network,
  MIN(client) AS client
FROM events
WHERE source IN ('cloudtrail', 'bedrock_invocations') AND principal <> '' AND markers LIKE '%probe:token_limit%'
GROUP BY principal, account, source, ts - mod(ts, 300000000)
