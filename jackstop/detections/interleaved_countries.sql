-- How often, in five minutes, the requests of a key came to a country that is new to its owner right after one from
-- elsewhere. Without countries: to a network that is new to the owner, with a client that is.
WITH calls AS (
  SELECT ts - mod(ts, 300000000) AS start, ts, event_id, key_id, owner, country, src_net, network_kind, http_fp
  FROM events
  WHERE key_id <> '' AND src_net <> ''
),
steps AS (
  SELECT start, ts, key_id, owner, country, src_net, network_kind, http_fp,
    LAG(country) OVER (PARTITION BY key_id, start ORDER BY ts, event_id) AS country_before,
    LAG(src_net) OVER (PARTITION BY key_id, start ORDER BY ts, event_id) AS net_before
  FROM calls
),
entries AS (
  SELECT start - mod(start, 86400000000) AS day, key_id, owner, network_kind, http_fp,
    CASE WHEN country = '' THEN 'net' ELSE 'country' END AS trait,
    CASE WHEN country = '' THEN src_net ELSE country END AS value,
    start, COUNT(*) AS changes, MIN(ts) AS first_ts, MAX(ts) AS last_ts
  FROM steps
  WHERE (country_before <> '' AND country <> '' AND country <> country_before)
    OR (country_before = '' AND country = '' AND src_net <> net_before)
  GROUP BY start, key_id, owner, network_kind, http_fp, country,
    CASE WHEN country = '' THEN src_net ELSE country END
),
novel AS (
  SELECT entries.day, entries.key_id, entries.trait, SUM(entries.changes) AS changes,
    MIN(entries.first_ts) AS first_seen, MAX(entries.last_ts) AS last_seen,
    SUM(CASE WHEN of_client.value IS NULL THEN entries.changes ELSE 0 END) AS by_new_clients,
    SUM(CASE WHEN of_client.value IS NULL AND of_kind.value IS NULL AND entries.network_kind <> ''
      THEN entries.changes ELSE 0 END) AS by_strangers
  FROM entries
  LEFT JOIN known AS of_place ON of_place.day = entries.day AND of_place.scope = 'owner'
    AND of_place.entity = entries.owner AND of_place.trait = entries.trait AND of_place.value = entries.value
  LEFT JOIN known AS of_client ON of_client.day = entries.day AND of_client.scope = 'owner'
    AND of_client.entity = entries.owner AND of_client.trait = 'http' AND of_client.value = entries.http_fp
  LEFT JOIN known AS of_kind ON of_kind.day = entries.day AND of_kind.scope = 'owner'
    AND of_kind.entity = entries.owner AND of_kind.trait = 'network_kind' AND of_kind.value = entries.network_kind
  WHERE of_place.value IS NULL
  GROUP BY entries.start, entries.day, entries.key_id, entries.trait
)
SELECT 'key:' || novel.key_id AS entity, novel.first_seen, novel.last_seen, novel.changes AS count,
  CASE WHEN novel.trait = 'net' THEN 'low' WHEN novel.by_strangers >= 3 THEN 'high' ELSE 'medium' END AS severity,
  novel.by_new_clients, novel.by_strangers
FROM novel
JOIN baselines AS usual ON usual.day = novel.day AND usual.scope = 'key' AND usual.entity = novel.key_id
  AND usual.mature = 1
WHERE (novel.trait = 'country' AND novel.changes >= 2) OR novel.by_new_clients >= 3
