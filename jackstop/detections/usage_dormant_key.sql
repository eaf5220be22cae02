-- Keys that a provider's report shows in use again after thirty days or more without.
WITH days AS (
  SELECT provider, provider_key_id, bucket - mod(bucket, 86400000000) AS day, MIN(account) AS account,
    MIN(bucket) AS first_ts, MAX(bucket) AS last_ts, COUNT(*) AS buckets, COUNT(DISTINCT model) AS models,
    MIN(model) AS model, SUM(input_tokens + output_tokens) AS tokens, SUM(cost_nusd) AS cost_nusd
  FROM usage
  WHERE provider_key_id <> '' AND cost_from <> 'provider'
  GROUP BY provider, provider_key_id, bucket - mod(bucket, 86400000000)
),
woken AS (
  SELECT provider, provider_key_id, day, account, first_ts, last_ts, buckets, models, model, tokens, cost_nusd,
    LAG(day) OVER (PARTITION BY provider, provider_key_id ORDER BY day) AS before_day
  FROM days
)
SELECT 'provider_key:' || provider_key_id AS entity, first_ts AS first_seen, last_ts AS last_seen, buckets AS count,
  account, provider, model, models, tokens, cost_nusd, before_day AS used_before, 'known' AS history
FROM woken
WHERE day - before_day >= 2592000000000
