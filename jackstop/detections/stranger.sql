-- Requests from a network that is new to the key and its owner, which also differ in at least two of client, model and
-- system prompt from what the key is used for; or three such networks of new operators at once. A key that is still
-- learning is compared with the whole organisation, and has to differ in all of it.
WITH calls AS (
  SELECT ts - mod(ts, 300000000) AS start, key_id, owner, src_net, CAST(asn AS VARCHAR) AS asn, network_kind, http_fp,
    model_asked, system_fp, MIN(ts) AS first_ts, MAX(ts) AS last_ts, COUNT(*) AS requests, SUM(cost_nusd) AS cost_nusd
  FROM events
  WHERE key_id <> '' AND src_net <> '' AND decision <> 'refused' AND network_kind NOT IN ('private', 'loopback')
  GROUP BY ts - mod(ts, 300000000), key_id, owner, src_net, CAST(asn AS VARCHAR), network_kind, http_fp, model_asked,
    system_fp
),
elsewhere AS (
  SELECT calls.start, of_org.day, calls.key_id, calls.src_net, calls.asn, calls.network_kind, calls.http_fp,
    calls.model_asked, calls.system_fp, calls.first_ts, calls.last_ts, calls.requests, calls.cost_nusd,
    COALESCE(usual.mature, 0) AS mature, usual.nets_hour_max AS nets_before,
    CASE WHEN usual.mature = 1 THEN 'key' ELSE 'org' END AS scope,
    CASE WHEN usual.mature = 1 THEN calls.key_id ELSE 'org' END AS entity,
    CASE WHEN usual.mature = 1 THEN 'owner' ELSE 'org' END AS wide_scope,
    CASE WHEN usual.mature = 1 THEN calls.owner ELSE 'org' END AS wide_entity
  FROM calls
  JOIN baselines AS of_org ON of_org.day = calls.start - mod(calls.start, 86400000000) AND of_org.scope = 'org'
    AND of_org.mature = 1
  LEFT JOIN baselines AS usual ON usual.day = of_org.day AND usual.scope = 'key' AND usual.entity = calls.key_id
    AND usual.mature = 1
),
judged AS (
  SELECT e.start, e.key_id, e.src_net, e.first_ts, e.last_ts, e.requests, e.cost_nusd, e.mature, e.nets_before,
    CASE WHEN e.http_fp <> '' AND http.value IS NULL THEN 1 ELSE 0 END AS client,
    CASE WHEN e.model_asked <> '' AND model.value IS NULL THEN 1 ELSE 0 END AS model,
    CASE WHEN e.system_fp <> '' AND prompt.value IS NULL THEN 1 ELSE 0 END AS prompt,
    CASE WHEN operator.value IS NULL THEN e.src_net END AS net_of_new_operator,
    CASE WHEN (e.asn <> '' AND operator.value IS NULL) OR (e.network_kind <> '' AND kind.value IS NULL)
      THEN 1 ELSE 0 END AS place
  FROM elsewhere AS e
  LEFT JOIN known AS net ON net.day = e.day AND net.scope = e.wide_scope AND net.entity = e.wide_entity
    AND net.trait = 'net' AND net.value = e.src_net
  LEFT JOIN known AS own ON own.day = e.day AND own.scope = e.scope AND own.entity = e.entity
    AND own.trait = 'net' AND own.value = e.src_net
  LEFT JOIN known AS operator ON operator.day = e.day AND operator.scope = e.wide_scope
    AND operator.entity = e.wide_entity AND operator.trait = 'asn' AND operator.value = e.asn
  LEFT JOIN known AS kind ON kind.day = e.day AND kind.scope = e.wide_scope AND kind.entity = e.wide_entity
    AND kind.trait = 'network_kind' AND kind.value = e.network_kind
  LEFT JOIN known AS http ON http.day = e.day AND http.scope = e.scope AND http.entity = e.entity
    AND http.trait = 'http' AND http.value = e.http_fp
  LEFT JOIN known AS model ON model.day = e.day AND model.scope = e.scope AND model.entity = e.entity
    AND model.trait = 'model' AND model.value = e.model_asked
  LEFT JOIN known AS prompt ON prompt.day = e.day AND prompt.scope = e.scope AND prompt.entity = e.entity
    AND prompt.trait = 'system' AND prompt.value = e.system_fp
  WHERE net.value IS NULL AND own.value IS NULL
),
counted AS (
  SELECT key_id, MIN(first_ts) AS first_seen, MAX(last_ts) AS last_seen, SUM(requests) AS requests,
    COUNT(DISTINCT CASE WHEN client + model + prompt >= 3 - mature THEN src_net END) AS strangers,
    COUNT(DISTINCT CASE WHEN client + model + prompt >= 3 - mature AND place = 1 THEN src_net END) AS far_strangers,
    COUNT(DISTINCT net_of_new_operator) AS networks, MAX(client + model + prompt + place) AS new_signs,
    MAX(client) AS new_client, MAX(model) AS new_model, MAX(prompt) AS new_prompt, MAX(place) AS new_place,
    MIN(src_net) AS network, SUM(cost_nusd) AS cost_nusd, mature, nets_before
  FROM judged
  GROUP BY key_id, start, mature, nets_before
)
SELECT 'key:' || key_id AS entity, first_seen, last_seen, requests AS count,
  CASE WHEN mature = 1 AND (far_strangers >= 2 OR new_signs = 4) THEN 'high'
    WHEN far_strangers >= 1 THEN 'medium'
    ELSE 'low' END AS severity,
  strangers, far_strangers, networks, new_client, new_model, new_prompt, new_place, network, cost_nusd
FROM counted
WHERE strangers >= 1 OR (networks >= 3 AND networks >= 3 * nets_before)
