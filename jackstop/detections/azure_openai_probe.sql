-- Lists of deployments, and versions of the interface that tools for stolen keys speak, from networks new to an account.
WITH calls AS (
  SELECT account, target_id, src_net, ts, api_version,
    CASE WHEN action_class = 'list_models' OR api_version IN ('2022-12-01', '2023-09-01-preview') THEN 1 ELSE 0 END AS probe,
    CASE WHEN action_class = 'inference' AND outcome = 'ok' THEN 1 ELSE 0 END AS answered,
    ts - lag(ts) OVER (PARTITION BY account, target_id, src_net ORDER BY ts) AS gap
  FROM events
  WHERE source = 'azure_openai' AND src_net <> ''
),
dated AS (
  SELECT account, target_id, src_net, ts, api_version, probe, answered,
    MAX(CASE WHEN gap IS NULL OR gap > 2592000000000 THEN ts END) OVER (
      PARTITION BY account, target_id, src_net ORDER BY ts
    ) AS began,
    MIN(ts) OVER (PARTITION BY account, target_id) AS since
  FROM calls
)
SELECT 'account:' || account AS entity,
  MIN(CASE WHEN probe = 1 THEN ts END) AS first_seen, MAX(CASE WHEN probe = 1 THEN ts END) AS last_seen, SUM(probe) AS count,
  CASE WHEN MAX(CASE WHEN probe = 1 THEN began - since END) >= 604800000000 THEN 'high' ELSE 'medium' END AS severity,
  CASE WHEN MAX(CASE WHEN probe = 1 THEN began - since END) >= 604800000000 THEN 'known' ELSE 'unproven' END AS history,
  account, target_id AS resource, COUNT(DISTINCT CASE WHEN probe = 1 THEN src_net END) AS networks,
  MIN(CASE WHEN probe = 1 THEN src_net END) AS network, MIN(CASE WHEN probe = 1 THEN api_version END) AS api_version,
  SUM(answered) AS answered
FROM dated
WHERE ts - began < 86400000000
GROUP BY account, target_id, began - mod(began, 86400000000)
HAVING SUM(probe) > 0
