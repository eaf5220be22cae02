-- Hours, or days where the report has only those, that cost more than three times the dearest of the seven days before,
-- and at least 5 USD. Tokens at list price and what the provider charges are two books, looked at each by itself.
WITH spans AS (
  SELECT
    CASE WHEN provider_key_id <> '' THEN 'provider_key:' || provider_key_id
      WHEN account <> '' THEN 'account:' || account ELSE 'account:' || provider END AS entity,
    provider,
    CASE WHEN cost_from = 'provider' THEN 1 ELSE 0 END AS charged,
    CASE WHEN bucket_us > 3600000000 THEN 1 ELSE 0 END AS wide,
    bucket - mod(bucket, 3600000000) AS start, bucket - mod(bucket, 86400000000) AS day, MIN(account) AS account,
    MIN(bucket) AS first_ts, MAX(bucket) AS last_ts, COUNT(*) AS buckets, MIN(model) AS model,
    SUM(input_tokens + output_tokens) AS tokens, SUM(cost_nusd) AS cost_nusd
  FROM usage
  GROUP BY 1, 2, 3, 4, 5, 6
),
compared AS (
  SELECT entity, provider, charged, wide, start, day, account, first_ts, last_ts, buckets, model, tokens, cost_nusd,
    MAX(cost_nusd) OVER (PARTITION BY entity, provider, charged, wide ORDER BY start
      RANGE BETWEEN 604800000000 PRECEDING AND 1 PRECEDING) AS before_nusd,
    MIN(start) OVER (PARTITION BY entity, provider) AS begun
  FROM spans
),
days AS (
  SELECT entity, provider, charged, wide, day,
    COUNT(*) OVER (PARTITION BY entity, provider, charged, wide ORDER BY day
      RANGE BETWEEN 604800000000 PRECEDING AND 1 PRECEDING) AS active
  FROM spans
  GROUP BY entity, provider, charged, wide, day
)
SELECT compared.entity, compared.first_ts AS first_seen, compared.last_ts AS last_seen, compared.buckets AS count,
  CASE WHEN compared.start - compared.begun < 604800000000 THEN 'low' ELSE 'medium' END AS severity,
  compared.account, compared.model, compared.tokens, compared.cost_nusd, compared.before_nusd AS usual_nusd,
  CASE WHEN compared.start - compared.begun < 604800000000 THEN 'unproven' ELSE 'known' END AS history
FROM compared
JOIN days ON days.entity = compared.entity AND days.provider = compared.provider AND days.charged = compared.charged
  AND days.wide = compared.wide AND days.day = compared.day
WHERE days.active >= 5
  AND compared.cost_nusd >= 5000000000
  AND compared.cost_nusd > 3 * compared.before_nusd
