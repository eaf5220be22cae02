-- Operations of the console's page on access to models, with a key that no console uses.
SELECT
  'principal:' || principal AS entity,
  MIN(ts) AS first_seen,
  MAX(ts) AS last_seen,
  COUNT(*) AS count,
  principal AS cause,
  account,
  MIN(provider_key_id) AS access_key,
  MIN(action) AS act,
  COUNT(DISTINCT action) AS acts,
  MAX(model_asked) AS model,
  MIN(region) AS region,
  MIN(src_net) AS network,
  MIN(client) AS client
FROM events
WHERE source = 'cloudtrail' AND principal <> '' AND key_kind = 'long_lived' AND action IN (
  'GetFoundationModelAvailability', 'GetUseCaseForModelAccess', 'PutUseCaseForModelAccess',
  'CreateFoundationModelAgreement', 'ListFoundationModelAgreementOffers', 'PutFoundationModelEntitlement',
  'AcceptAgreementRequest'
)
GROUP BY principal, account, ts - mod(ts, 86400000000)
