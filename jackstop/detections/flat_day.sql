-- Yesterday the key was at work in 22 hours or more, and in the week before never in more than 14 of one day.
SELECT
  'key:' || b.entity AS entity,
  b.day - 86400000000 AS first_seen,
  b.day - 1 AS last_seen,
  b.hours_day_max AS count,
  p.hours_day_max AS usual_hours
FROM baselines AS b
JOIN baselines AS p
  ON p.day = b.day - 86400000000
  AND p.scope = 'key'
  AND p.entity = b.entity
  AND p.mature = 1
WHERE b.scope = 'key'
  AND b.hours_day_max >= 22
  AND p.hours_day_max <= 14
