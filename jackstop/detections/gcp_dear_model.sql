-- Dear models on Google Cloud that a project had not called in 30 days.
WITH calls AS (
  SELECT account, model, principal, key_kind, src_net, ts,
    ts - lag(ts) OVER (PARTITION BY account, model ORDER BY ts) AS gap
  FROM events
  WHERE source = 'gcp_audit' AND action_class = 'inference' AND (
    model LIKE '%-pro%' OR model LIKE '%image%' OR model LIKE 'veo-%' OR model LIKE '%-opus-%'
  )
),
dated AS (
  SELECT account, model, principal, key_kind, src_net, ts,
    MAX(CASE WHEN gap IS NULL OR gap > 2592000000000 THEN ts END) OVER (PARTITION BY account, model ORDER BY ts) AS began
  FROM calls
),
histories AS (
  SELECT account, MIN(ts) AS since FROM events WHERE source = 'gcp_audit' AND action_class = 'inference' GROUP BY account
)
SELECT 'account:' || dated.account AS entity, MIN(dated.ts) AS first_seen, MAX(dated.ts) AS last_seen, COUNT(*) AS count,
  CASE WHEN MAX(dated.began - histories.since) >= 604800000000 THEN 'medium' ELSE 'low' END AS severity,
  CASE WHEN MAX(dated.began - histories.since) >= 604800000000 THEN 'known' ELSE 'unproven' END AS history,
  dated.account, COUNT(DISTINCT dated.model) AS models, MIN(dated.model) AS model,
  COUNT(DISTINCT dated.principal) AS principals, MIN(dated.principal) AS principal,
  COUNT(CASE WHEN dated.key_kind <> '' THEN dated.ts END) AS with_a_key, MIN(dated.src_net) AS network
FROM dated
JOIN histories ON histories.account = dated.account
WHERE dated.ts - dated.began < 86400000000
GROUP BY dated.account, dated.began - mod(dated.began, 86400000000)
