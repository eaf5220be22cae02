-- Audit logs of Google Cloud that were thinned out: sinks, buckets, exclusions, and what is logged at all.
WITH acts AS (
  SELECT account, principal, ts, ts - mod(ts, 3600000000) AS start, src_net, action, target_kind, target_id,
    CASE WHEN change IN ('deleted', 'disabled') THEN 1 ELSE 0 END AS gone
  FROM events
  WHERE source = 'gcp_audit' AND outcome = 'ok' AND (
    (target_kind IN ('sink', 'log_bucket', 'log') AND change = 'deleted')
    OR (target_kind IN ('sink', 'log_bucket') AND change = 'updated' AND markers LIKE '%narrowed%')
    OR (target_kind = 'exclusion' AND change IN ('created', 'updated'))
    OR (target_kind = 'audit_config' AND change = 'disabled')
  )
)
SELECT CASE WHEN principal = '' THEN 'account:' || account ELSE 'principal:' || principal END AS entity,
  MIN(ts) AS first_seen, MAX(ts) AS last_seen, COUNT(*) AS count,
  CASE WHEN SUM(gone) > 0 THEN 'high' ELSE 'medium' END AS severity,
  principal AS cause, account, SUM(gone) AS gone, COUNT(DISTINCT target_kind) AS kinds,
  MIN(target_kind) AS what, MIN(target_id) AS target, MIN(action) AS act, MIN(src_net) AS network
FROM acts
GROUP BY account, principal, start
