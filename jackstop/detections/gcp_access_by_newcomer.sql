-- Models, capacity and jobs on Google Cloud that somebody set up who had not touched models there in 90 days.
WITH acts AS (
  SELECT account, principal, ts, src_net, region, action_class, target_kind, target_id, model,
    ts - lag(ts) OVER (PARTITION BY account, principal ORDER BY ts) AS gap
  FROM events
  WHERE source = 'gcp_audit' AND outcome = 'ok'
    AND (service IN ('aiplatform', 'generativelanguage') OR action_class = 'model_access' OR target_kind = 'quota')
),
dated AS (
  SELECT account, principal, ts, src_net, region, action_class, target_kind, target_id, model,
    MAX(CASE WHEN gap IS NULL OR gap > 7776000000000 THEN ts END) OVER (PARTITION BY account, principal ORDER BY ts) AS began
  FROM acts
),
histories AS (
  SELECT account, MIN(ts) AS since, MIN(CASE WHEN action_class = 'inference' THEN ts END) AS used_ts
  FROM events
  WHERE source = 'gcp_audit'
  GROUP BY account
),
told AS (
  SELECT dated.account, dated.principal, dated.ts, dated.src_net, dated.region, dated.target_kind, dated.target_id,
    dated.model, dated.began, dated.began - histories.since AS known_us,
    CASE WHEN dated.action_class = 'commit_spend' THEN 1 ELSE 0 END AS committed,
    CASE WHEN dated.action_class = 'model_access' AND histories.used_ts >= dated.ts
      AND histories.used_ts < dated.ts + 3600000000 THEN 1 ELSE 0 END AS used
  FROM dated
  JOIN histories ON histories.account = dated.account
  WHERE dated.ts - dated.began < 86400000000
    AND (dated.action_class IN ('model_access', 'commit_spend') OR dated.target_kind = 'quota')
)
SELECT CASE WHEN principal = '' THEN 'account:' || account ELSE 'principal:' || principal END AS entity,
  MIN(ts) AS first_seen, MAX(ts) AS last_seen, COUNT(*) AS count,
  CASE WHEN SUM(committed) + SUM(used) > 0 AND known_us >= 604800000000 THEN 'high'
    WHEN SUM(committed) + SUM(used) > 0 OR known_us >= 604800000000 THEN 'medium'
    ELSE 'low' END AS severity,
  CASE WHEN known_us >= 604800000000 THEN 'known' ELSE 'unproven' END AS history,
  principal AS cause, account, SUM(committed) AS committed, SUM(used) AS used_within_an_hour,
  MIN(target_kind) AS what, MIN(target_id) AS target, MIN(model) AS model, MIN(region) AS region, MIN(src_net) AS network
FROM told
GROUP BY account, principal, known_us
