-- Models that a provider's report shows for a key that had not used them in thirty days. It is worse where there are
-- several, where one is dear, and where so little was asked of it that it was only tried.
WITH told AS (
  SELECT
    CASE WHEN provider_key_id <> '' THEN 'provider_key:' || provider_key_id
      WHEN account <> '' THEN 'account:' || account ELSE 'account:' || provider END AS entity,
    provider, account, model, bucket,
    bucket - mod(bucket, 86400000000) AS day, input_tokens + output_tokens AS tokens, cost_nusd, price_nusd
  FROM usage
  WHERE model <> '' AND cost_from <> 'provider'
),
days AS (
  SELECT entity, provider, model, day, MIN(account) AS account, MIN(bucket) AS first_ts, MAX(bucket) AS last_ts,
    SUM(tokens) AS tokens, SUM(cost_nusd) AS cost_nusd, MAX(price_nusd) AS price_nusd
  FROM told
  GROUP BY entity, provider, model, day
),
dated AS (
  SELECT entity, model, day, account, first_ts, last_ts, tokens, cost_nusd, price_nusd,
    LAG(day) OVER (PARTITION BY entity, provider, model ORDER BY day) AS before_day,
    MIN(day) OVER (PARTITION BY entity, provider) AS first_day
  FROM days
),
novel AS (
  SELECT entity, model, day, account, first_ts, last_ts, tokens, cost_nusd, price_nusd, first_day
  FROM dated
  WHERE first_day < day AND (before_day IS NULL OR day - before_day > 2592000000000)
),
judged AS (
  SELECT novel.entity, novel.model, novel.day, novel.account, novel.first_ts, novel.last_ts, novel.tokens,
    novel.cost_nusd, novel.first_day,
    CASE WHEN 2 * SUM(CASE WHEN 3 * told.price_nusd <= novel.price_nusd THEN 1 ELSE 0 END) >= COUNT(told.entity)
      AND COUNT(told.entity) > 0 THEN 1 ELSE 0 END AS dear,
    CASE WHEN novel.tokens < 1000 THEN 1 ELSE 0 END AS tried
  FROM novel
  LEFT JOIN told ON told.entity = novel.entity AND told.bucket < novel.day AND told.price_nusd > 0
    AND told.bucket >= novel.day - 2592000000000
  GROUP BY novel.entity, novel.model, novel.day, novel.account, novel.first_ts, novel.last_ts, novel.tokens,
    novel.cost_nusd, novel.first_day
),
grouped AS (
  SELECT entity, day, MIN(first_ts) AS first_seen, MAX(last_ts) AS last_seen, COUNT(*) AS models,
    CASE WHEN COUNT(*) >= 4 THEN 3 WHEN COUNT(*) >= 2 OR SUM(dear + tried) > 0 THEN 2 ELSE 1 END
      - CASE WHEN day - first_day < 604800000000 THEN 1 ELSE 0 END AS level,
    CASE WHEN day - first_day < 604800000000 THEN 'unproven' ELSE 'known' END AS history,
    MIN(account) AS account, MIN(model) AS model, SUM(dear) AS dear, SUM(tried) AS tried, SUM(tokens) AS tokens,
    SUM(cost_nusd) AS cost_nusd
  FROM judged
  GROUP BY entity, day, first_day
)
SELECT entity, first_seen, last_seen, models AS count,
  CASE level WHEN 3 THEN 'high' WHEN 2 THEN 'medium' WHEN 1 THEN 'low' ELSE 'info' END AS severity,
  account, model, dear, tried, tokens, cost_nusd, history
FROM grouped
