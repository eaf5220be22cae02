-- Hours in which a key's requests were three times as large as in the thirty days before, or in which it used a long
-- context window for the first time in them.
WITH hours AS (
  SELECT
    CASE WHEN provider_key_id <> '' THEN 'provider_key:' || provider_key_id
      WHEN account <> '' THEN 'account:' || account ELSE 'account:' || provider END AS entity,
    provider, bucket - mod(bucket, 3600000000) AS hour,
    MIN(account) AS account, MIN(bucket) AS first_ts, MAX(bucket) AS last_ts, COUNT(*) AS buckets,
    MAX(request_tokens) AS largest, MAX(CASE WHEN context_window = '200k-1M' THEN 1 ELSE 0 END) AS long_window,
    MAX(CASE WHEN context_window <> '' THEN 1 ELSE 0 END) AS told_window, SUM(input_tokens) AS input_tokens
  FROM usage
  WHERE cost_from <> 'provider'
  GROUP BY 1, 2, 3
),
compared AS (
  SELECT entity, hour - mod(hour, 86400000000) AS day, account, first_ts, last_ts, buckets, largest, long_window,
    input_tokens,
    MAX(largest) OVER (PARTITION BY entity, provider ORDER BY hour
      RANGE BETWEEN 2592000000000 PRECEDING AND 1 PRECEDING) AS largest_before,
    MAX(long_window) OVER (PARTITION BY entity, provider ORDER BY hour
      RANGE BETWEEN 2592000000000 PRECEDING AND 1 PRECEDING) AS long_before,
    MAX(told_window) OVER (PARTITION BY entity, provider ORDER BY hour
      RANGE BETWEEN 2592000000000 PRECEDING AND 1 PRECEDING) AS told_before,
    MIN(hour) OVER (PARTITION BY entity, provider) AS begun
  FROM hours
)
SELECT entity, MIN(first_ts) AS first_seen, MAX(last_ts) AS last_seen, SUM(buckets) AS count,
  CASE WHEN day - begun < 604800000000 THEN 'info' ELSE 'low' END AS severity,
  MIN(account) AS account, MAX(largest) AS request_tokens, MAX(largest_before) AS request_tokens_before,
  MAX(long_window) AS long_window, SUM(input_tokens) AS input_tokens,
  CASE WHEN day - begun < 604800000000 THEN 'unproven' ELSE 'known' END AS history
FROM compared
WHERE (largest >= 20000 AND largest_before > 0 AND largest > 3 * largest_before)
  OR (long_window = 1 AND long_before = 0 AND told_before = 1)
GROUP BY entity, day, begun
