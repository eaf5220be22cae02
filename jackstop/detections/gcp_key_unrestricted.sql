-- API keys of Google Cloud that were made without a list of APIs, or whose list was taken away.
WITH acts AS (
  SELECT account, principal, ts, ts - mod(ts, 3600000000) AS start, src_net, target_id, change
  FROM events
  WHERE source = 'gcp_audit' AND target_kind = 'api_key' AND outcome = 'ok' AND markers LIKE '%unrestricted%'
),
models AS (
  SELECT account, MIN(ts) AS since
  FROM events
  WHERE source = 'gcp_audit' AND outcome = 'ok'
    AND (service = 'generativelanguage' OR (target_kind = 'service' AND target_id LIKE '%generativelanguage%'))
  GROUP BY account
)
SELECT CASE WHEN acts.principal = '' THEN 'account:' || acts.account ELSE 'principal:' || acts.principal END AS entity,
  MIN(acts.ts) AS first_seen, MAX(acts.ts) AS last_seen, COUNT(*) AS count,
  CASE WHEN COUNT(CASE WHEN models.since <= acts.ts THEN acts.ts END) > 0 THEN 'high' ELSE 'medium' END AS severity,
  acts.principal AS cause, acts.account, COUNT(CASE WHEN models.since <= acts.ts THEN acts.ts END) AS opens_gemini,
  COUNT(CASE WHEN acts.change = 'updated' THEN acts.ts END) AS restrictions_removed,
  COUNT(DISTINCT acts.target_id) AS api_keys, MIN(acts.target_id) AS api_key, MIN(acts.src_net) AS network
FROM acts
LEFT JOIN models ON models.account = acts.account
GROUP BY acts.account, acts.principal, acts.start
