-- Requests with an output cap that cannot be meant: zero or less, where the dialect has no use for it.
SELECT
  'key:' || key_id AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE WHEN COUNT(DISTINCT model_asked) >= 2 THEN 'high' ELSE 'medium' END AS severity,
  COUNT(DISTINCT model_asked) AS models,
  MIN(model_asked) AS model,
  MIN(src_net) AS network
FROM events
WHERE key_id <> ''
  AND markers LIKE '%probe:token_limit%'
GROUP BY key_id, ts - mod(ts, 300000000)
