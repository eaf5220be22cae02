-- One client build from many networks at once that the key's owner, with whatever key, had not been seen on, and whose
-- operators neither. For a key that is still learning all networks are new: then far more of them, or another sign.
WITH calls AS (
  SELECT ts - mod(ts, 300000000) AS start, key_id, owner, http_fp, src_net, MAX(CAST(asn AS VARCHAR)) AS asn,
    MAX(country) AS country, MIN(ts) AS first_ts, MAX(ts) AS last_ts, COUNT(*) AS requests, SUM(cost_nusd) AS cost_nusd,
    SUM(CASE WHEN markers LIKE '%probe:%' THEN 1 ELSE 0 END) AS probes
  FROM events
  WHERE key_id <> '' AND src_net <> ''
  GROUP BY ts - mod(ts, 300000000), key_id, owner, http_fp, src_net
),
dated AS (
  SELECT start, start - mod(start, 86400000000) AS day, key_id, owner, http_fp, src_net, asn, country, first_ts, last_ts,
    requests, cost_nusd, probes
  FROM calls
),
novel AS (
  SELECT dated.day, dated.key_id, dated.http_fp, COUNT(*) AS networks, COUNT(DISTINCT dated.asn) AS operators,
    COUNT(DISTINCT CASE WHEN dated.country <> '' THEN dated.country END) AS countries, SUM(dated.probes) AS probes,
    MIN(dated.first_ts) AS first_seen, MAX(dated.last_ts) AS last_seen, SUM(dated.requests) AS requests,
    SUM(dated.cost_nusd) AS cost_nusd
  FROM dated
  LEFT JOIN known AS of_net ON of_net.day = dated.day AND of_net.scope = 'owner' AND of_net.entity = dated.owner
    AND of_net.trait = 'net' AND of_net.value = dated.src_net
  LEFT JOIN known AS of_asn ON of_asn.day = dated.day AND of_asn.scope = 'owner' AND of_asn.entity = dated.owner
    AND of_asn.trait = 'asn' AND of_asn.value = dated.asn
  WHERE of_net.value IS NULL AND of_asn.value IS NULL
  GROUP BY dated.start, dated.day, dated.key_id, dated.http_fp
  HAVING COUNT(*) >= 5
)
SELECT 'key:' || novel.key_id AS entity, novel.first_seen, novel.last_seen, novel.requests AS count,
  CASE WHEN usual.entity IS NULL AND novel.countries < 5 AND novel.probes = 0 THEN 'medium'
    WHEN usual.entity IS NOT NULL AND novel.cost_nusd >= 1000000000
      AND (client.value IS NULL OR novel.countries >= 3 OR novel.probes > 0) THEN 'critical'
    ELSE 'high' END AS severity,
  novel.networks, COALESCE(usual.nets_hour_max, 0) AS networks_before, novel.operators, novel.countries, novel.probes,
  novel.cost_nusd
FROM novel
LEFT JOIN baselines AS usual ON usual.day = novel.day AND usual.scope = 'key' AND usual.entity = novel.key_id
  AND usual.mature = 1
LEFT JOIN known AS client ON client.day = novel.day AND client.scope = 'key' AND client.entity = novel.key_id
  AND client.trait = 'http' AND client.value = novel.http_fp
WHERE novel.networks >= 4 * usual.nets_hour_max
  OR (usual.entity IS NULL AND (novel.networks >= 40 OR novel.countries >= 5 OR novel.probes > 0))
