-- Models on Google Cloud that were called with a key from a network on which that key had not been seen in 30 days.
WITH calls AS (
  SELECT account, principal, key_kind, CASE WHEN provider_key_id = '' THEN account ELSE provider_key_id END AS held,
    src_net, ts, action_class, outcome, model, markers
  FROM events
  WHERE source = 'gcp_audit' AND key_kind IN ('api_key', 'service_account_key') AND src_net <> ''
),
gapped AS (
  SELECT account, principal, key_kind, held, src_net, ts, action_class, outcome, model, markers,
    ts - lag(ts) OVER (PARTITION BY account, held, src_net ORDER BY ts) AS gap
  FROM calls
),
dated AS (
  SELECT account, principal, key_kind, held, src_net, ts, action_class, outcome, model, markers,
    MAX(CASE WHEN gap IS NULL OR gap > 2592000000000 THEN ts END) OVER (
      PARTITION BY account, held, src_net ORDER BY ts
    ) AS began,
    MIN(ts) OVER (PARTITION BY account, held) AS key_since,
    SUM(CASE WHEN gap IS NULL THEN 1 ELSE 0 END) OVER (PARTITION BY account, held ORDER BY ts) AS networks
  FROM gapped
),
histories AS (
  SELECT account, MIN(ts) AS since FROM events WHERE source = 'gcp_audit' GROUP BY account
),
fresh AS (
  SELECT dated.account, dated.principal, dated.key_kind, dated.held, dated.src_net, dated.ts, dated.began, dated.networks,
    dated.action_class, dated.outcome, dated.model, dated.markers,
    CASE WHEN dated.action_class = 'inference' THEN 1 ELSE 0 END AS called,
    CASE WHEN dated.began > dated.key_since THEN 1 END AS of_known_key,
    CASE WHEN dated.began - histories.since >= 604800000000 THEN 1 ELSE 0 END AS proven
  FROM dated
  JOIN histories ON histories.account = dated.account
  WHERE dated.ts - dated.began < 86400000000
),
judged AS (
  SELECT account, principal, key_kind, held, src_net, ts, began - mod(began, 86400000000) AS start, networks, called,
    of_known_key, proven, action_class, outcome, model, markers,
    CASE WHEN called = 1 AND of_known_key = 1 AND networks <= 5 THEN proven + 1 WHEN called = 1 THEN proven END AS level
  FROM fresh
)
SELECT CASE WHEN principal = '' THEN 'account:' || account ELSE 'principal:' || principal END AS entity,
  MIN(CASE WHEN called = 1 THEN ts END) AS first_seen, MAX(CASE WHEN called = 1 THEN ts END) AS last_seen,
  SUM(called) AS count,
  CASE WHEN MAX(level) = 2 THEN 'high' WHEN MAX(level) = 1 THEN 'medium' ELSE 'low' END AS severity,
  CASE WHEN MAX(proven) = 1 THEN 'known' ELSE 'unproven' END AS history,
  principal AS cause, account, key_kind, held AS provider_key,
  CASE WHEN COUNT(of_known_key) > 0 THEN 'known' ELSE 'new' END AS key_is,
  COUNT(DISTINCT CASE WHEN called = 1 THEN src_net END) AS new_networks, MAX(networks) AS networks,
  MIN(CASE WHEN called = 1 THEN src_net END) AS network, MIN(CASE WHEN called = 1 THEN model END) AS model,
  COUNT(CASE WHEN called = 1 AND outcome = 'ok' THEN ts END) AS answered,
  COUNT(CASE WHEN markers LIKE '%probe:%' THEN ts END) AS probes,
  COUNT(CASE WHEN action_class = 'data_read' THEN ts END) AS data_reads
FROM judged
GROUP BY account, principal, key_kind, held, start
HAVING SUM(called) > 0
