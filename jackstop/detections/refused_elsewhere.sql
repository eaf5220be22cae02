-- Requests that the key's policy refuses, or would, for where they come from or what they ask for; `doors` are the
-- different networks, providers and models that were tried.
WITH tried AS (
  SELECT ts - mod(ts, 300000000) AS start, key_id, owner, reason, src_net,
    CASE WHEN reason = 'network' THEN src_net WHEN reason = 'provider' THEN provider ELSE model_asked END AS door,
    COUNT(*) AS requests, MIN(ts) AS first_ts, MAX(ts) AS last_ts
  FROM events
  WHERE key_id <> '' AND reason IN ('network', 'provider', 'model')
  GROUP BY ts - mod(ts, 300000000), key_id, owner, reason, src_net,
    CASE WHEN reason = 'network' THEN src_net WHEN reason = 'provider' THEN provider ELSE model_asked END
),
dated AS (
  SELECT start, start - mod(start, 86400000000) AS day, key_id, owner, reason, src_net, door, requests, first_ts, last_ts
  FROM tried
),
judged AS (
  SELECT dated.key_id, SUM(dated.requests) AS requests, MIN(dated.first_ts) AS first_seen,
    MAX(dated.last_ts) AS last_seen, COUNT(DISTINCT dated.door) AS doors,
    SUM(CASE WHEN dated.reason = 'network' AND known.value IS NULL THEN dated.requests ELSE 0 END) AS from_new_networks
  FROM dated
  LEFT JOIN known ON known.day = dated.day AND known.scope = 'owner' AND known.entity = dated.owner
    AND known.trait = 'net' AND known.value = dated.src_net
  GROUP BY dated.start, dated.key_id
)
SELECT 'key:' || key_id AS entity, first_seen, last_seen, requests AS count,
  CASE WHEN doors >= 3 OR from_new_networks >= 5 THEN 'medium' ELSE 'low' END AS severity,
  doors, from_new_networks
FROM judged
WHERE requests >= 5
