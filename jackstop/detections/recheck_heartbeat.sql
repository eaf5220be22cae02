-- Probes that come back in the rhythm of a key checker: every 60 or 90 minutes, or every six hours, a quarter more or less.
SELECT
  'key:' || r.key_id AS entity,
  r.first_seen,
  r.last_seen,
  r.probes AS count,
  r.hourly_gaps,
  r.six_hour_gaps
FROM (
  SELECT
    g.key_id,
    MIN(g.first_ts) AS first_seen,
    MAX(g.last_ts) AS last_seen,
    SUM(g.probes) AS probes,
    SUM(CASE WHEN g.gap >= 2700000000 AND g.gap <= 6900000000 THEN 1 ELSE 0 END) AS hourly_gaps,
    SUM(CASE WHEN g.gap >= 16200000000 AND g.gap <= 27000000000 THEN 1 ELSE 0 END) AS six_hour_gaps
  FROM (
    SELECT
      m.key_id,
      m.day,
      m.first_ts,
      m.last_ts,
      m.probes,
      m.first_ts - lag(m.last_ts) OVER (PARTITION BY m.key_id, m.day ORDER BY m.first_ts) AS gap
    FROM (
      SELECT
        key_id,
        first_ts - mod(first_ts, 86400000000) AS day,
        MIN(first_ts) AS first_ts,
        MAX(last_ts) AS last_ts,
        SUM(probes) AS probes
      FROM minutes
      GROUP BY key_id, minute, first_ts - mod(first_ts, 86400000000)
      HAVING SUM(probes) > 0
    ) AS m
  ) AS g
  GROUP BY g.key_id, g.day
) AS r
WHERE r.hourly_gaps >= 3
  OR r.six_hour_gaps >= 2
