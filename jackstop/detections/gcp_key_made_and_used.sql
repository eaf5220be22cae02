-- Keys of Google Cloud that were made, and used within a day from another network than that of whoever made them.
WITH made AS (
  SELECT account, principal, target_id AS held, src_net, MIN(ts) AS ts, MIN(target_kind) AS target_kind
  FROM events
  WHERE source = 'gcp_audit' AND action_class = 'key_admin' AND change = 'created' AND outcome = 'ok' AND src_net <> ''
  GROUP BY account, principal, target_id, src_net
),
gapped AS (
  SELECT account, principal, held, ts, src_net, target_kind,
    ts - lag(ts) OVER (PARTITION BY account, principal ORDER BY ts) AS gap
  FROM made
),
dated AS (
  SELECT account, principal, held, ts, src_net, target_kind,
    MAX(CASE WHEN gap IS NULL OR gap > 7776000000000 THEN ts END) OVER (PARTITION BY account, principal ORDER BY ts) AS began
  FROM gapped
),
histories AS (
  SELECT account, MIN(ts) AS since FROM events WHERE source = 'gcp_audit' GROUP BY account
),
uses AS (
  SELECT provider_key_id, src_net, ts, action_class
  FROM events
  WHERE source = 'gcp_audit' AND provider_key_id <> '' AND src_net <> ''
)
SELECT CASE WHEN dated.principal = '' THEN 'account:' || dated.account ELSE 'principal:' || dated.principal END AS entity,
  MIN(uses.ts) AS first_seen, MAX(uses.ts) AS last_seen, COUNT(*) AS count,
  CASE WHEN dated.ts - dated.began < 86400000000 AND dated.began - histories.since >= 604800000000 THEN 'high'
    ELSE 'medium' END AS severity,
  CASE WHEN dated.began - histories.since >= 604800000000 THEN 'known' ELSE 'unproven' END AS history,
  dated.principal AS cause, dated.account, dated.target_kind AS what, dated.held AS provider_key,
  dated.src_net AS made_from, MIN(uses.src_net) AS network, COUNT(DISTINCT uses.src_net) AS networks,
  COUNT(CASE WHEN uses.action_class = 'inference' THEN uses.ts END) AS inferences,
  COUNT(CASE WHEN uses.action_class = 'data_read' THEN uses.ts END) AS data_reads
FROM dated
JOIN histories ON histories.account = dated.account
JOIN uses ON uses.provider_key_id = dated.held
WHERE uses.src_net <> dated.src_net AND uses.ts >= dated.ts AND uses.ts < dated.ts + 86400000000
GROUP BY dated.account, dated.principal, dated.held, dated.ts, dated.began, dated.src_net, dated.target_kind,
  histories.since
