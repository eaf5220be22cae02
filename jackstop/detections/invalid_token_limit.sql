-- Requests with an output cap that cannot be meant: zero or less, where the dialect has no use for it. Two models within
-- five minutes are somewhere one right after the other, so that to look one request back misses none.
WITH probes AS (
  SELECT ts, key_id, model_asked, src_net,
    ts - lag(ts) OVER (PARTITION BY key_id ORDER BY ts, event_id) AS gap,
    lag(model_asked) OVER (PARTITION BY key_id ORDER BY ts, event_id) AS model_before
  FROM events
  WHERE key_id <> ''
    AND markers LIKE '%probe:token_limit%'
)
SELECT
  'key:' || key_id AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE WHEN COUNT(CASE WHEN gap < 300000000 AND model_asked <> model_before THEN ts END) > 0 THEN 'high'
    ELSE 'medium' END AS severity,
  COUNT(DISTINCT model_asked) AS models,
  MIN(model_asked) AS model,
  MIN(src_net) AS network
FROM probes
GROUP BY key_id, ts - mod(ts, 300000000)
