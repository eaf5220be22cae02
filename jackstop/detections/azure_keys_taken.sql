-- Keys of models on Azure that were listed or made anew by somebody who had not done that in 90 days.
WITH acts AS (
  SELECT account, principal, ts, src_net, target_id, change,
    ts - lag(ts) OVER (PARTITION BY account, principal ORDER BY ts) AS gap
  FROM events
  WHERE source = 'azure_activity' AND target_kind = 'api_key' AND outcome = 'ok'
),
dated AS (
  SELECT account, principal, ts, src_net, target_id, change,
    MAX(CASE WHEN gap IS NULL OR gap > 7776000000000 THEN ts END) OVER (PARTITION BY account, principal ORDER BY ts) AS began
  FROM acts
),
histories AS (
  SELECT account, MIN(ts) AS since FROM events WHERE source = 'azure_activity' GROUP BY account
)
SELECT CASE WHEN dated.principal = '' THEN 'account:' || dated.account ELSE 'principal:' || dated.principal END AS entity,
  MIN(dated.ts) AS first_seen, MAX(dated.ts) AS last_seen, COUNT(*) AS count,
  CASE WHEN dated.began - histories.since >= 604800000000 THEN 'high' ELSE 'medium' END AS severity,
  CASE WHEN dated.began - histories.since >= 604800000000 THEN 'known' ELSE 'unproven' END AS history,
  dated.principal AS cause, dated.account, COUNT(DISTINCT dated.target_id) AS resources, MIN(dated.target_id) AS resource,
  COUNT(CASE WHEN dated.change = 'updated' THEN dated.ts END) AS made_anew, MIN(dated.src_net) AS network
FROM dated
JOIN histories ON histories.account = dated.account
WHERE dated.ts - dated.began < 86400000000
GROUP BY dated.account, dated.principal, dated.began, histories.since
