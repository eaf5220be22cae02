-- The key ran into its ramp allowance: it spends faster than three times what it ever did within ten minutes.
SELECT
  'key:' || key_id AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  SUM(CASE WHEN decision = 'refused' THEN 1 ELSE 0 END) AS refused,
  MIN(src_net) AS network,
  MIN(model_asked) AS model,
  MIN(client) AS client
FROM events
WHERE key_id <> ''
  AND reason = 'rate'
  AND markers LIKE '%ramp%'
GROUP BY key_id, ts - mod(ts, 300000000)
