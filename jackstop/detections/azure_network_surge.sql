-- Hours in which one network called an Azure OpenAI account ten times as often as any does in 99 of 100 hours.
WITH hours AS (
  SELECT account, target_id, src_net, ts - mod(ts, 3600000000) AS start, ts - mod(ts, 86400000000) AS date_us,
    COUNT(*) AS requests, MIN(ts) AS first_ts, MAX(ts) AS last_ts
  FROM events
  WHERE source = 'azure_openai' AND action_class = 'inference' AND src_net <> ''
  GROUP BY account, target_id, src_net, ts - mod(ts, 3600000000), ts - mod(ts, 86400000000)
),
dated AS (
  SELECT account, target_id, src_net, start, date_us, requests, first_ts, last_ts,
    MIN(first_ts) OVER (PARTITION BY account, target_id, src_net) AS began
  FROM hours
),
loud AS (
  SELECT account, target_id, date_us FROM hours WHERE requests >= 100 GROUP BY account, target_id, date_us
),
earlier AS (
  SELECT loud.account, loud.target_id, loud.date_us, hours.requests, hours.date_us AS then_us,
    row_number() OVER (PARTITION BY loud.account, loud.target_id, loud.date_us ORDER BY hours.requests DESC) AS place,
    COUNT(*) OVER (PARTITION BY loud.account, loud.target_id, loud.date_us) AS spans
  FROM loud
  JOIN hours ON hours.account = loud.account AND hours.target_id = loud.target_id
    AND hours.date_us < loud.date_us AND hours.date_us >= loud.date_us - 604800000000
),
usual AS (
  SELECT account, target_id, date_us, MIN(CASE WHEN (place - 1) * 100 <= spans THEN requests END) AS p99
  FROM earlier
  GROUP BY account, target_id, date_us
  HAVING COUNT(DISTINCT then_us) >= 5
)
SELECT 'account:' || dated.account AS entity, dated.first_ts AS first_seen, dated.last_ts AS last_seen,
  dated.requests AS count, CASE WHEN dated.began >= dated.date_us THEN 'high' ELSE 'medium' END AS severity,
  CASE WHEN dated.began >= dated.date_us THEN 'new' ELSE 'known' END AS network_is,
  dated.account, dated.target_id AS resource, dated.src_net AS network, usual.p99
FROM dated
JOIN usual ON usual.account = dated.account AND usual.target_id = dated.target_id AND usual.date_us = dated.date_us
WHERE dated.requests > 10 * usual.p99 AND dated.requests >= 100
