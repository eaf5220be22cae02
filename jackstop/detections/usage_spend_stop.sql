-- An hour that cost twice as much as any whole day of the thirty before, and at least 20 USD; where the report has only
-- days, a day that cost five times as much. Of what has no past, an hour of 50 USD.
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
days AS (
  SELECT entity, provider, charged, wide, day, SUM(cost_nusd) AS cost_nusd
  FROM spans
  GROUP BY entity, provider, charged, wide, day
),
dearest AS (
  SELECT entity, provider, charged, wide, day,
    MAX(cost_nusd) OVER (PARTITION BY entity, provider, charged, wide ORDER BY day
      RANGE BETWEEN 2592000000000 PRECEDING AND 1 PRECEDING) AS before_nusd,
    MIN(day) OVER (PARTITION BY entity, provider) AS begun
  FROM days
)
SELECT spans.entity, spans.first_ts AS first_seen, spans.last_ts AS last_seen, spans.buckets AS count,
  CASE WHEN dearest.before_nusd IS NULL THEN 'low' WHEN spans.day - dearest.begun < 604800000000 THEN 'medium'
    ELSE 'high' END AS severity,
  spans.account, spans.model, spans.tokens, spans.cost_nusd, dearest.before_nusd AS dearest_day_nusd,
  CASE WHEN spans.day - dearest.begun < 604800000000 THEN 'unproven' ELSE 'known' END AS history
FROM spans
JOIN dearest ON dearest.entity = spans.entity AND dearest.provider = spans.provider
  AND dearest.charged = spans.charged AND dearest.wide = spans.wide AND dearest.day = spans.day
WHERE spans.cost_nusd >= 20000000000
  AND (
    (spans.wide = 0 AND spans.cost_nusd > 2 * dearest.before_nusd)
    OR spans.cost_nusd > 5 * dearest.before_nusd
    OR (spans.wide = 0 AND dearest.before_nusd IS NULL AND spans.cost_nusd >= 50000000000)
  )
