-- One network that asks a model's server what it is and what it has, by paths of which an application knows one at most.
-- Windows overlap by half, so that what takes half of one is never cut in two. What they find in a day is one
-- finding, with the count of the fullest.
WITH grids AS (SELECT 0 AS later UNION ALL SELECT 150000000 AS later)
SELECT
  'network:' || src_net AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE
    WHEN COUNT(CASE WHEN action_class = 'inference' AND outcome = 'ok' THEN ts END) > 0 THEN 'high'
    WHEN COUNT(CASE WHEN outcome = 'ok' THEN ts END) > 0 THEN 'medium'
    ELSE 'low'
  END AS severity,
  COUNT(DISTINCT CASE WHEN markers = 'recon' THEN action END) AS paths,
  COUNT(CASE WHEN markers = 'recon' AND outcome = 'ok' THEN ts END) AS answered,
  COUNT(CASE WHEN action_class = 'inference' AND outcome = 'ok' THEN ts END) AS inferences,
  MIN(CASE WHEN markers = 'recon' THEN action END) AS path,
  COUNT(DISTINCT src_ip) AS addresses,
  MIN(client) AS client,
  MIN(service) AS host
FROM events
CROSS JOIN grids
WHERE source = 'access_log'
  AND src_net <> ''
  AND network_kind <> 'loopback'
  AND (markers = 'recon' OR action_class = 'inference')
GROUP BY src_net, ts - mod(ts + later, 300000000)
HAVING COUNT(DISTINCT CASE WHEN markers = 'recon' THEN action END) >= 3
