-- Places from which one key called Bedrock within the hour: all of them, and those of its most widespread agent.
WITH calls AS (
  SELECT ts, ts - mod(ts, 3600000000) AS hour, account, principal, provider_key_id, key_kind, src_ip, user_agent, model_asked,
    CASE WHEN country <> '' THEN country END AS country, asn
  FROM events
  WHERE source = 'cloudtrail' AND principal <> '' AND src_ip <> ''
    AND (service LIKE 'bedrock%' OR service = 'aws-external-anthropic')
),
agents AS (
  SELECT hour, account, principal, provider_key_id, user_agent, COUNT(DISTINCT src_ip) AS addresses
  FROM calls
  GROUP BY hour, account, principal, provider_key_id, user_agent
),
widest AS (
  SELECT hour, account, principal, provider_key_id, MAX(addresses) AS addresses
  FROM agents
  GROUP BY hour, account, principal, provider_key_id
),
together AS (
  SELECT hour, account, principal, provider_key_id, MIN(ts) AS first_seen, MAX(ts) AS last_seen, COUNT(*) AS calls,
    COUNT(CASE WHEN key_kind IN ('long_lived', 'bearer') THEN ts END) AS static_calls,
    COUNT(DISTINCT src_ip) AS addresses, COUNT(DISTINCT country) AS countries, COUNT(DISTINCT asn) AS operators,
    COUNT(DISTINCT model_asked) AS models, MIN(src_ip) AS address
  FROM calls
  GROUP BY hour, account, principal, provider_key_id
)
SELECT
  'principal:' || together.principal AS entity,
  together.first_seen,
  together.last_seen,
  together.calls AS count,
  CASE WHEN together.static_calls > 0 THEN 'high' ELSE 'medium' END AS severity,
  together.principal AS cause,
  together.account,
  together.provider_key_id AS access_key,
  together.addresses,
  together.countries,
  together.operators,
  widest.addresses AS addresses_of_one_agent,
  together.models,
  together.address
FROM together
JOIN widest ON widest.hour = together.hour AND widest.account = together.account
  AND widest.principal = together.principal AND widest.provider_key_id = together.provider_key_id
WHERE together.countries >= 3 OR together.operators >= 5 OR widest.addresses >= 10
