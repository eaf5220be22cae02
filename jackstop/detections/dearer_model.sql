-- Models that the key had not asked for in 28 days, at three times its median price for a token or more.
WITH calls AS (
  SELECT ts - mod(ts, 300000000) AS start, key_id, owner, model_asked, ts, cost_nusd,
    COALESCE(input_tokens, 0) + COALESCE(cache_read_tokens, 0) + COALESCE(cache_write_tokens, 0)
      + COALESCE(output_tokens, 0) AS tokens
  FROM events
  WHERE key_id <> '' AND model_asked <> ''
),
dated AS (
  SELECT start, start - mod(start, 86400000000) AS day, key_id, owner, model_asked, ts, cost_nusd, tokens FROM calls
),
dear AS (
  SELECT dated.start, dated.day, dated.key_id, dated.owner, dated.model_asked, COUNT(*) AS requests,
    SUM(dated.cost_nusd) AS cost_nusd, MIN(dated.ts) AS first_ts, MAX(dated.ts) AS last_ts
  FROM dated
  JOIN baselines AS usual ON usual.day = dated.day AND usual.scope = 'key' AND usual.entity = dated.key_id
    AND usual.mature = 1
  WHERE usual.price_median_nusd > 0 AND dated.tokens > 0
    AND dated.cost_nusd * 1000000 >= 3 * usual.price_median_nusd * dated.tokens
  GROUP BY dated.start, dated.day, dated.key_id, dated.owner, dated.model_asked
)
SELECT 'key:' || dear.key_id AS entity, MIN(dear.first_ts) AS first_seen, MAX(dear.last_ts) AS last_seen,
  SUM(dear.requests) AS count,
  MAX(CASE WHEN of_owner.value IS NULL THEN 'medium' ELSE 'low' END) AS severity,
  MIN(dear.model_asked) AS model, SUM(dear.cost_nusd) AS cost_nusd
FROM dear
LEFT JOIN known AS of_key ON of_key.day = dear.day AND of_key.scope = 'key' AND of_key.entity = dear.key_id
  AND of_key.trait = 'model' AND of_key.value = dear.model_asked
LEFT JOIN known AS of_owner ON of_owner.day = dear.day AND of_owner.scope = 'owner' AND of_owner.entity = dear.owner
  AND of_owner.trait = 'model' AND of_owner.value = dear.model_asked
WHERE of_key.value IS NULL
GROUP BY dear.start, dear.key_id
