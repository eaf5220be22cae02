-- One key tries models that it is not known to use, and some of them are not to be had.
-- Windows overlap by half, so that what takes half of one is never cut in two. What they find in an hour is one
-- finding, with the count of the fullest.
WITH grids AS (SELECT 0 AS later UNION ALL SELECT 150000000 AS later)
SELECT
  'key:' || e.key_id AS entity,
  MIN(e.ts) AS first_seen,
  MAX(e.ts) AS last_seen,
  COUNT(*) AS count,
  COUNT(DISTINCT e.model_asked) AS models,
  COUNT(DISTINCT CASE WHEN e.outcome IN ('invalid', 'denied', 'not_found') THEN e.model_asked END) AS failed_models,
  MIN(e.src_net) AS network
FROM events AS e
CROSS JOIN grids AS g
LEFT JOIN known AS k
  ON k.day = e.ts - mod(e.ts, 86400000000)
  AND k.scope = 'key'
  AND k.entity = e.key_id
  AND k.trait = 'model'
  AND k.value = e.model_asked
WHERE e.key_id <> ''
  AND e.model_asked <> ''
  AND k.value IS NULL
GROUP BY e.key_id, e.ts - mod(e.ts + g.later, 300000000)
HAVING COUNT(DISTINCT e.model_asked) >= 4
  AND COUNT(DISTINCT CASE WHEN e.outcome IN ('invalid', 'denied', 'not_found') THEN e.model_asked END) >= 2
