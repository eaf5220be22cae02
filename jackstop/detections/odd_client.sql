-- A browser, a bare HTTP library or no user agent at all, on a key that never was used with it. For a key that is still
-- learning, what its owner, its team and the organisation use stands in for what it uses itself.
SELECT
  'key:' || s.key_id AS entity,
  MIN(s.first_ts) AS first_seen,
  MAX(s.last_ts) AS last_seen,
  SUM(s.requests) AS count,
  CASE WHEN COUNT(o.value) = COUNT(*) THEN 'low' ELSE 'medium' END AS severity,
  MIN(s.value) AS client,
  COUNT(DISTINCT s.value) AS clients
FROM sightings AS s
LEFT JOIN baselines AS b
  ON b.day = s.hour - mod(s.hour, 86400000000) AND b.scope = 'key' AND b.entity = s.key_id AND b.mature = 1
LEFT JOIN known AS k
  ON k.day = s.hour - mod(s.hour, 86400000000) AND k.scope = 'key' AND k.entity = s.key_id
  AND k.trait = 'client' AND k.value = s.value
LEFT JOIN known AS o
  ON o.day = s.hour - mod(s.hour, 86400000000) AND o.scope = 'owner' AND o.entity = s.owner
  AND o.trait = 'client' AND o.value = s.value
LEFT JOIN known AS t
  ON t.day = s.hour - mod(s.hour, 86400000000) AND t.scope = 'team' AND t.entity = s.team
  AND t.trait = 'client' AND t.value = s.value
LEFT JOIN known AS a
  ON a.day = s.hour - mod(s.hour, 86400000000) AND a.scope = 'org'
  AND a.trait = 'client' AND a.value = s.value
LEFT JOIN baselines AS c
  ON c.day = s.hour - mod(s.hour, 86400000000) AND c.scope = 'org' AND c.mature = 1
WHERE s.trait = 'client'
  AND s.value IN (
    'none', 'browser', 'requests', 'httpx', 'urllib', 'aiohttp', 'axios', 'node-fetch', 'node', 'undici', 'okhttp',
    'java', 'go', 'reqwest', 'bun', 'deno', 'curl', 'wget', 'postman', 'insomnia'
  )
  AND k.value IS NULL
  AND (
    b.entity IS NOT NULL
    OR (c.entity IS NOT NULL AND o.value IS NULL AND t.value IS NULL AND a.value IS NULL)
  )
GROUP BY s.key_id, s.first_ts - mod(s.first_ts, 86400000000)
