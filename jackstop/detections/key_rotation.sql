-- The same request tried with another key within five seconds of being throttled, again and again.
SELECT
  'key:' || r.key_id AS entity,
  MIN(r.ts) AS first_seen,
  MAX(r.ts) AS last_seen,
  COUNT(*) AS count,
  CASE WHEN SUM(CASE WHEN r.owner <> r.owner_before THEN 1 ELSE 0 END) >= 3 THEN 'high' ELSE 'medium' END AS severity,
  MIN(r.key_before) AS other_key,
  COUNT(DISTINCT r.key_before) AS other_keys,
  MIN(r.src_net) AS network
FROM (
  SELECT
    key_id,
    owner,
    src_net,
    ts,
    lag(key_id) OVER (PARTITION BY request_fp ORDER BY ts, event_id) AS key_before,
    lag(owner) OVER (PARTITION BY request_fp ORDER BY ts, event_id) AS owner_before,
    lag(outcome) OVER (PARTITION BY request_fp ORDER BY ts, event_id) AS outcome_before,
    ts - lag(ts) OVER (PARTITION BY request_fp ORDER BY ts, event_id) AS gap
  FROM events
  WHERE key_id <> ''
    AND request_fp IN (SELECT request_fp FROM events WHERE outcome = 'throttled' AND request_fp <> '')
) AS r
WHERE r.key_before <> r.key_id
  AND r.outcome_before = 'throttled'
  AND r.gap <= 5000000
GROUP BY r.key_id, r.ts - mod(r.ts, 300000000)
HAVING COUNT(*) >= 3
