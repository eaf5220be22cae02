-- AWS's quarantine policy, attached to a user.
SELECT
  CASE
    WHEN owner <> '' THEN 'principal:arn:aws:iam::' || account || ':user/' || owner
    ELSE 'account:' || account
  END AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  CASE WHEN owner <> '' THEN 'arn:aws:iam::' || account || ':user/' || owner END AS cause,
  account,
  MIN(target_id) AS target,
  MIN(principal) AS done_by
FROM events
WHERE source = 'cloudtrail' AND outcome = 'ok' AND change = 'attached' AND target_id LIKE 'AWSCompromisedKeyQuarantine%'
GROUP BY account, owner, ts - mod(ts, 86400000000)
