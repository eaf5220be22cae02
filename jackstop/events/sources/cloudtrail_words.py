"""What CloudTrail's event names mean in the words of the event schema: one reviewed table for each AWS service.

An act that is not here keeps its name and has no class. The names of a service's operations were compared with the
service models of botocore 1.44.5 on 2026-11-23 (a test holds those that botocore has to it); names that no SDK has come
from the page that stands with them.
"""

from __future__ import annotations

from typing import NamedTuple


class Act(NamedTuple):
    """The meaning of one event name. Empty text where the schema has no word."""

    action_class: str = ""
    target_kind: str = ""
    change: str = ""


def _each(names: str, action_class: str, target_kind: str = "", change: str = "") -> dict[str, Act]:
    return dict.fromkeys(names.split(), Act(action_class, target_kind, change))


# Bedrock's runtime, agents and control plane write one event source, `bedrock.amazonaws.com`; some records have those
# of BEDROCK below. `PutFoundationModelEntitlement` of the console: Permiso, "When AI Gets Hijacked", 2024-10-03, and
# stratus-red-team's detonation log of aws.impact.bedrock-invoke-model.
# `CountTokens` costs nothing, and stands with inference as it does at the gate: it names a model and needs its access.
_BEDROCK = {
    **_each(
        "InvokeModel InvokeModelWithResponseStream InvokeModelWithBidirectionalStream Converse ConverseStream"
        " CountTokens StartAsyncInvoke InvokeAgent InvokeInlineAgent InvokeFlow StartFlowExecution"
        " OptimizePrompt GenerateQuery InvokeDataAutomation InvokeDataAutomationAsync Rerank",
        "inference",
    ),
    **_each(
        "RetrieveAndGenerate RetrieveAndGenerateStream AgenticRetrieveStream", "inference", "knowledge_base", "read"
    ),
    **_each(
        "ListFoundationModels GetFoundationModel GetFoundationModelAvailability ListFoundationModelAgreementOffers"
        " ListInferenceProfiles GetInferenceProfile ListCustomModels GetCustomModel ListImportedModels GetImportedModel"
        " ListCustomModelDeployments GetCustomModelDeployment ListMarketplaceModelEndpoints GetMarketplaceModelEndpoint"
        " ListPromptRouters GetPromptRouter",
        "list_models",
    ),
    **_each(
        "ListProvisionedModelThroughputs GetProvisionedModelThroughput", "list_models", "provisioned_throughput", "read"
    ),
    **_each("GetModelInvocationLoggingConfiguration", "read_config", "invocation_logging", "read"),
    **_each("GetUseCaseForModelAccess", "read_config", "use_case", "read"),
    **_each("ListGuardrails GetGuardrail ListEnforcedGuardrailsConfiguration", "read_config", "guardrail", "read"),
    **_each("ListModelInvocationJobs GetModelInvocationJob", "read_config", "batch_job", "read"),
    **_each("ListModelCustomizationJobs GetModelCustomizationJob", "read_config", "customization_job", "read"),
    **_each("ListModelImportJobs GetModelImportJob", "read_config", "import_job", "read"),
    **_each("ListEvaluationJobs GetEvaluationJob", "read_config", "evaluation_job", "read"),
    **_each(
        "ListKnowledgeBases GetKnowledgeBase ListDataSources GetDataSource", "read_config", "knowledge_base", "read"
    ),
    **_each("ListAgents GetAgent ListAgentAliases GetAgentAlias ListFlows GetFlow", "read_config", "agent", "read"),
    **_each("ListPrompts GetPrompt", "read_config", "prompt", "read"),
    **_each("GetAccountDataRetention GetResourcePolicy", "read_config"),
    **_each("PutModelInvocationLoggingConfiguration", "change_logging", "invocation_logging", "updated"),
    **_each("DeleteModelInvocationLoggingConfiguration", "change_logging", "invocation_logging", "deleted"),
    **_each("CreateGuardrail CreateGuardrailVersion", "change_guardrail", "guardrail", "created"),
    **_each("UpdateGuardrail PutEnforcedGuardrailConfiguration", "change_guardrail", "guardrail", "updated"),
    **_each("DeleteGuardrail DeleteEnforcedGuardrailConfiguration", "change_guardrail", "guardrail", "deleted"),
    **_each("PutUseCaseForModelAccess", "model_access", "use_case", "created"),
    **_each("CreateFoundationModelAgreement", "model_access", "agreement", "created"),
    **_each("DeleteFoundationModelAgreement", "model_access", "agreement", "deleted"),
    **_each("PutFoundationModelEntitlement", "model_access", "entitlement", "created"),
    **_each("CreateProvisionedModelThroughput", "commit_spend", "provisioned_throughput", "created"),
    **_each("UpdateProvisionedModelThroughput", "commit_spend", "provisioned_throughput", "updated"),
    **_each("DeleteProvisionedModelThroughput", "commit_spend", "provisioned_throughput", "deleted"),
    **_each("CreateModelInvocationJob", "commit_spend", "batch_job", "created"),
    **_each("StopModelInvocationJob", "commit_spend", "batch_job", "stopped"),
    **_each("CreateModelCustomizationJob CreateCustomModel", "commit_spend", "customization_job", "created"),
    **_each("StopModelCustomizationJob", "commit_spend", "customization_job", "stopped"),
    **_each("CreateModelImportJob", "commit_spend", "import_job", "created"),
    **_each("CreateEvaluationJob CreateAdvancedPromptOptimizationJob", "commit_spend", "evaluation_job", "created"),
    **_each("StopEvaluationJob StopAdvancedPromptOptimizationJob", "commit_spend", "evaluation_job", "stopped"),
    **_each("CreateCustomModelDeployment CreateMarketplaceModelEndpoint", "commit_spend", "deployment", "created"),
    **_each("UpdateCustomModelDeployment UpdateMarketplaceModelEndpoint", "commit_spend", "deployment", "updated"),
    **_each("DeleteCustomModelDeployment DeleteMarketplaceModelEndpoint", "commit_spend", "deployment", "deleted"),
    **_each(
        "Retrieve GetKnowledgeBaseDocuments ListKnowledgeBaseDocuments GetDocumentContent",
        "data_read",
        "knowledge_base",
        "read",
    ),
    **_each("GetAgentMemory GetSession GetInvocationStep ListInvocationSteps", "data_read", "session", "read"),
}

# https://docs.aws.amazon.com/bedrock/latest/userguide/logging-cloudtrail-mantle.html, read on 2026-11-23. Of these the
# models, fine-tuning and projects are management events, inference and files are data events, which no trail has by
# default. botocore has no model of this service: it is called with OpenAI's and Anthropic's SDKs.
_MANTLE = {
    **_each("ListModels GetModel", "list_models"),
    **_each("CreateInference CountTokens", "inference"),
    **_each("GetInference", "data_read", "inference", "read"),
    **_each("CancelInference", "", "inference", "stopped"),
    **_each("DeleteInference", "", "inference", "deleted"),
    **_each("ListFineTuningJobs GetFineTuningJob", "read_config", "customization_job", "read"),
    **_each("CreateFineTuningJob", "commit_spend", "customization_job", "created"),
    **_each("CancelFineTuningJob", "commit_spend", "customization_job", "stopped"),
    **_each("ListProjects GetProject", "read_config", "project", "read"),
    **_each("CreateProject", "", "project", "created"),
    **_each("UpdateProject", "", "project", "updated"),
    **_each("ArchiveProject", "", "project", "deleted"),
    **_each("ListFiles", "read_config", "file", "read"),
    **_each("GetFile", "data_read", "file", "read"),
    **_each("CreateFile", "", "file", "created"),
    **_each("DeleteFile", "", "file", "deleted"),
}

# Claude Platform on AWS: Anthropic's own interface behind AWS's keys. An act has the name of its action in IAM:
# https://docs.aws.amazon.com/claude-platform/latest/userguide/iam-actions.html and monitoring.html, read on 2026-11-23.
# Workspaces are management events, all others here data events. Its event source, and that bearer keys are told among
# the parameters, is from the queries of BeyondTrust/bedrock-keys-security. No record of it is published.
_CLAUDE_PLATFORM = {
    **_each("ListModels GetModel", "list_models"),
    **_each("CreateInference CountTokens", "inference"),
    **_each("CreateBatchInference", "commit_spend", "batch_job", "created"),
    **_each("CancelBatchInference", "", "batch_job", "stopped"),
    **_each("DeleteBatchInference", "", "batch_job", "deleted"),
    **_each("GetBatchInference", "data_read", "batch_job", "read"),
    **_each("ListBatchInferences", "read_config", "batch_job", "read"),
    **_each("ListWorkspaces GetWorkspace", "read_config", "workspace", "read"),
    **_each("ListFiles", "read_config", "file", "read"),
    **_each("GetFile", "data_read", "file", "read"),
    **_each("CreateFile", "", "file", "created"),
    **_each("DeleteFile", "", "file", "deleted"),
}

# botocore's model of IAM. Keys, passwords and second factors are `key_admin`; who there is and what they may do is
# `people_admin`. Bedrock's long-term API keys are service-specific credentials of `bedrock.amazonaws.com`.
_IAM = {
    **_each("CreateAccessKey", "key_admin", "access_key", "created"),
    **_each("UpdateAccessKey", "key_admin", "access_key", "updated"),
    **_each("DeleteAccessKey", "key_admin", "access_key", "deleted"),
    **_each("CreateServiceSpecificCredential", "key_admin", "service_credential", "created"),
    **_each("UpdateServiceSpecificCredential", "key_admin", "service_credential", "updated"),
    **_each("ResetServiceSpecificCredential", "key_admin", "service_credential", "updated"),
    **_each("DeleteServiceSpecificCredential", "key_admin", "service_credential", "deleted"),
    **_each("CreateLoginProfile", "key_admin", "login_profile", "created"),
    **_each("UpdateLoginProfile ChangePassword", "key_admin", "login_profile", "updated"),
    **_each("DeleteLoginProfile", "key_admin", "login_profile", "deleted"),
    **_each("CreateVirtualMFADevice EnableMFADevice", "key_admin", "mfa_device", "created"),
    **_each("DeactivateMFADevice DeleteVirtualMFADevice", "key_admin", "mfa_device", "deleted"),
    **_each("UploadSigningCertificate", "key_admin", "signing_certificate", "created"),
    **_each("CreateUser", "people_admin", "user", "created"),
    **_each("UpdateUser", "people_admin", "user", "updated"),
    **_each("DeleteUser", "people_admin", "user", "deleted"),
    **_each("AddUserToGroup", "people_admin", "group", "attached"),
    **_each("RemoveUserFromGroup", "people_admin", "group", "deleted"),
    **_each("CreateGroup", "people_admin", "group", "created"),
    **_each("DeleteGroup", "people_admin", "group", "deleted"),
    **_each("CreateRole CreateServiceLinkedRole", "people_admin", "role", "created"),
    **_each("UpdateRole UpdateAssumeRolePolicy", "people_admin", "role", "updated"),
    **_each("DeleteRole DeleteServiceLinkedRole", "people_admin", "role", "deleted"),
    **_each("CreatePolicy", "people_admin", "policy", "created"),
    **_each("CreatePolicyVersion SetDefaultPolicyVersion", "people_admin", "policy", "updated"),
    **_each("DeletePolicy DeletePolicyVersion", "people_admin", "policy", "deleted"),
    **_each("AttachUserPolicy AttachRolePolicy AttachGroupPolicy", "people_admin", "policy", "attached"),
    **_each("PutUserPolicy PutRolePolicy PutGroupPolicy", "people_admin", "policy", "attached"),
    **_each("DetachUserPolicy DetachRolePolicy DetachGroupPolicy", "people_admin", "policy", "deleted"),
    **_each("DeleteUserPolicy DeleteRolePolicy DeleteGroupPolicy", "people_admin", "policy", "deleted"),
    **_each("PutUserPermissionsBoundary PutRolePermissionsBoundary", "people_admin", "boundary", "updated"),
    **_each("DeleteUserPermissionsBoundary DeleteRolePermissionsBoundary", "people_admin", "boundary", "deleted"),
    **_each("CreateSAMLProvider CreateOpenIDConnectProvider", "people_admin", "identity_provider", "created"),
    **_each("UpdateSAMLProvider", "people_admin", "identity_provider", "updated"),
    **_each("DeleteSAMLProvider DeleteOpenIDConnectProvider", "people_admin", "identity_provider", "deleted"),
    **_each("ListAccessKeys GetAccessKeyLastUsed", "read_config", "access_key", "read"),
    **_each("ListServiceSpecificCredentials", "read_config", "service_credential", "read"),
    **_each("GetLoginProfile", "read_config", "login_profile", "read"),
    **_each("GetUser ListUsers ListGroupsForUser", "read_config", "user", "read"),
    **_each("GetRole ListRoles", "read_config", "role", "read"),
    **_each(
        "ListAttachedUserPolicies ListUserPolicies GetUserPolicy ListAttachedRolePolicies ListRolePolicies"
        " GetRolePolicy ListAttachedGroupPolicies ListGroupPolicies GetGroupPolicy ListPolicies GetPolicy"
        " GetPolicyVersion ListPolicyVersions ListEntitiesForPolicy SimulatePrincipalPolicy",
        "read_config",
        "policy",
        "read",
    ),
    **_each(
        "GetAccountSummary GetAccountAuthorizationDetails GetAccountPasswordPolicy ListAccountAliases"
        " GenerateCredentialReport GetCredentialReport ListMFADevices ListVirtualMFADevices",
        "read_config",
        "account",
        "read",
    ),
}

# botocore's models of STS and IAM Identity Center; sign-in events: docs.aws.amazon.com/awscloudtrail/latest/userguide/
# cloudtrail-event-reference-aws-console-sign-in-events.html, Identity Center's: docs.aws.amazon.com/singlesignon/
# latest/userguide/logging-using-cloudtrail.html.
_STS = {
    **_each(
        "GetCallerIdentity GetSessionToken GetFederationToken GetAccessKeyInfo DecodeAuthorizationMessage", "identity"
    ),
    **_each("AssumeRole AssumeRoleWithSAML AssumeRoleWithWebIdentity AssumeRoot", "identity", "role"),
}
_SIGNIN = _each(
    "ConsoleLogin CheckMfa SwitchRole ExitRole RenewRole CredentialChallenge CredentialVerification UserAuthentication",
    "identity",
)
_SSO = {
    **_each("Authenticate Federate CreateToken GetRoleCredentials ListAccounts ListAccountRoles Logout", "identity"),
    **_each("CreateAccountAssignment", "people_admin", "account_assignment", "created"),
    **_each("DeleteAccountAssignment", "people_admin", "account_assignment", "deleted"),
    **_each("CreatePermissionSet", "people_admin", "permission_set", "created"),
    **_each(
        "PutInlinePolicyToPermissionSet AttachManagedPolicyToPermissionSet", "people_admin", "permission_set", "updated"
    ),
}
_IDENTITY_STORE = {
    **_each("CreateUser", "people_admin", "user", "created"),
    **_each("DeleteUser", "people_admin", "user", "deleted"),
    **_each("CreateGroupMembership", "people_admin", "group", "attached"),
}
_ROLES_ANYWHERE = {
    **_each("CreateTrustAnchor", "key_admin", "trust_anchor", "created"),
    **_each("UpdateTrustAnchor EnableTrustAnchor", "key_admin", "trust_anchor", "updated"),
    **_each("DeleteTrustAnchor DisableTrustAnchor", "key_admin", "trust_anchor", "deleted"),
    **_each("CreateProfile", "key_admin", "trust_profile", "created"),
    **_each("DeleteProfile", "key_admin", "trust_profile", "deleted"),
}

# botocore's models of CloudTrail and CloudWatch Logs, where Bedrock's invocation log may go.
_CLOUDTRAIL = {
    **_each("CreateTrail", "change_logging", "trail", "created"),
    **_each("StartLogging", "change_logging", "trail", "enabled"),
    **_each("StopLogging", "change_logging", "trail", "stopped"),
    **_each("UpdateTrail", "change_logging", "trail", "updated"),
    **_each("DeleteTrail", "change_logging", "trail", "deleted"),
    **_each("PutEventSelectors", "change_logging", "event_selectors", "updated"),
    **_each("PutInsightSelectors PutEventConfiguration", "change_logging", "insight_selectors", "updated"),
    **_each("CreateEventDataStore RestoreEventDataStore", "change_logging", "event_data_store", "created"),
    **_each("StartEventDataStoreIngestion", "change_logging", "event_data_store", "enabled"),
    **_each("StopEventDataStoreIngestion", "change_logging", "event_data_store", "stopped"),
    **_each("UpdateEventDataStore", "change_logging", "event_data_store", "updated"),
    **_each("DeleteEventDataStore", "change_logging", "event_data_store", "deleted"),
    **_each("GetTrail DescribeTrails ListTrails GetTrailStatus LookupEvents", "read_config", "trail", "read"),
    **_each("GetEventSelectors GetInsightSelectors", "read_config", "event_selectors", "read"),
}
_LOGS = {
    **_each("CreateLogGroup", "change_logging", "log_group", "created"),
    **_each("DeleteLogGroup DeleteLogStream", "change_logging", "log_group", "deleted"),
    **_each("PutRetentionPolicy", "change_logging", "log_group", "updated"),
    **_each("DescribeLogGroups", "read_config", "log_group", "read"),
    **_each("GetLogEvents FilterLogEvents StartQuery", "data_read", "log_group", "read"),
}

# botocore's models of Marketplace's agreement service; `Subscribe` and `GetListingView` are events of its web site, the
# second and `SearchAgreements` seen in Sysdig's "AI-assisted cloud intrusion …", 2026-02-03.
_MARKETPLACE = {
    **_each("AcceptAgreementRequest Subscribe", "model_access", "marketplace_agreement", "created"),
    **_each("CreateAgreementRequest", "model_access", "marketplace_agreement", "updated"),
    **_each("CancelAgreement Unsubscribe", "model_access", "marketplace_agreement", "deleted"),
    **_each(
        "GetAgreementRequest DescribeAgreement SearchAgreements GetAgreementTerms ViewSubscriptions GetListingView",
        "read_config",
        "marketplace_agreement",
        "read",
    ),
}

# botocore's models of Service Quotas, Budgets, Cost Explorer and Organizations: what bounds or shows the spend.
_QUOTAS = {
    **_each(
        "RequestServiceQuotaIncrease PutServiceQuotaIncreaseRequestIntoTemplate", "limit_admin", "quota", "created"
    ),
    **_each("DeleteServiceQuotaIncreaseRequestFromTemplate", "limit_admin", "quota", "deleted"),
    **_each("StartAutoManagement UpdateAutoManagement", "limit_admin", "quota", "updated"),
    **_each(
        "GetServiceQuota ListServiceQuotas GetAWSDefaultServiceQuota ListAWSDefaultServiceQuotas"
        " ListRequestedServiceQuotaChangeHistory",
        "read_config",
        "quota",
        "read",
    ),
}
_BUDGETS = {
    **_each("CreateBudget CreateBudgetAction CreateNotification CreateSubscriber", "limit_admin", "budget", "created"),
    **_each("UpdateBudget UpdateBudgetAction UpdateNotification UpdateSubscriber", "limit_admin", "budget", "updated"),
    **_each("DeleteBudget DeleteBudgetAction DeleteNotification DeleteSubscriber", "limit_admin", "budget", "deleted"),
    **_each("DescribeBudget DescribeBudgets ViewBudget", "read_config", "budget", "read"),
}
_COST = {
    **_each("CreateAnomalyMonitor CreateAnomalySubscription", "limit_admin", "cost_anomaly_monitor", "created"),
    **_each("UpdateAnomalyMonitor UpdateAnomalySubscription", "limit_admin", "cost_anomaly_monitor", "updated"),
    **_each("DeleteAnomalyMonitor DeleteAnomalySubscription", "limit_admin", "cost_anomaly_monitor", "deleted"),
    **_each("GetCostAndUsage GetCostForecast GetCostAndUsageWithResources", "read_config", "cost", "read"),
}
_ORGANIZATIONS = {
    **_each("CreateAccount InviteAccountToOrganization", "people_admin", "account", "created"),
    **_each("LeaveOrganization RemoveAccountFromOrganization", "change_guardrail", "organization", "disabled"),
    **_each("CreatePolicy EnablePolicyType", "change_guardrail", "organization_policy", "created"),
    **_each("AttachPolicy", "change_guardrail", "organization_policy", "attached"),
    **_each("UpdatePolicy", "change_guardrail", "organization_policy", "updated"),
    **_each("DetachPolicy DeletePolicy", "change_guardrail", "organization_policy", "deleted"),
    **_each("DisablePolicyType", "change_guardrail", "organization_policy", "disabled"),
    **_each("DescribeOrganization ListAccounts ListPolicies", "read_config", "organization", "read"),
}

# botocore's models. What a key that was taken for its models can also reach; and what its finder looks at first: mail
# quotas (SES), buckets, secrets. KMS is in no class: other services' reads call it, and name its caller.
_S3 = {
    **_each("GetObject SelectObjectContent GetObjectTorrent", "data_read", "object", "read"),
    **_each("ListBuckets ListObjects ListObjectsV2 ListObjectVersions HeadBucket", "read_config", "bucket", "read"),
}
_SECRETS = {
    **_each("GetSecretValue BatchGetSecretValue", "data_read", "secret", "read"),
    **_each("ListSecrets DescribeSecret", "read_config", "secret", "read"),
}
_SSM = {
    **_each("GetParameter GetParameters GetParametersByPath GetParameterHistory", "data_read", "parameter", "read"),
    **_each("DescribeParameters", "read_config", "parameter", "read"),
}
_SES = _each("GetSendQuota GetAccount GetAccountSendingEnabled ListIdentities", "read_config", "mail_quota", "read")

BEDROCK = frozenset({
    "bedrock", "bedrock-runtime", "bedrock-agent", "bedrock-agent-runtime", "bedrock-data-automation",
    "bedrock-data-automation-runtime", "bedrock-mantle", "aws-external-anthropic",
})  # fmt: skip
"""Services whose parameters may hold content or say how the caller showed who it is: looked at whatever the act."""

ACTS: dict[str, dict[str, Act]] = {
    **dict.fromkeys(BEDROCK - {"bedrock-mantle", "aws-external-anthropic"}, _BEDROCK),
    "bedrock-mantle": _MANTLE,
    "aws-external-anthropic": _CLAUDE_PLATFORM,
    "iam": _IAM,
    "sts": _STS,
    "signin": _SIGNIN,
    "sso": _SSO,
    "identitystore": _IDENTITY_STORE,
    "sso-directory": _IDENTITY_STORE,
    "rolesanywhere": _ROLES_ANYWHERE,
    "cloudtrail": _CLOUDTRAIL,
    "logs": _LOGS,
    "aws-marketplace": _MARKETPLACE,
    "agreement-marketplace": _MARKETPLACE,
    "servicequotas": _QUOTAS,
    "budgets": _BUDGETS,
    "ce": _COST,
    "organizations": _ORGANIZATIONS,
    "s3": _S3,
    "secretsmanager": _SECRETS,
    "ssm": _SSM,
    "ses": _SES,
}
"""The acts of each service by its event source without `.amazonaws.com`."""

TARGETS: dict[str, tuple[str, ...]] = {
    "access_key": ("user_name",),
    "service_credential": ("user_name",),
    "login_profile": ("user_name",),
    "mfa_device": ("user_name", "serial_number"),
    "signing_certificate": ("user_name",),
    "user": ("user_name",),
    "boundary": ("user_name", "role_name"),
    "role": ("role_name", "role_arn"),
    "group": ("group_name",),
    "policy": ("policy_name", "policy_arn", "user_name", "role_name", "group_name"),
    "identity_provider": ("name", "saml_provider_arn", "url"),
    "invocation_logging": (),
    "trail": ("name", "trail_name"),
    "event_selectors": ("trail_name", "name"),
    "insight_selectors": ("trail_name", "event_data_store"),
    "event_data_store": ("event_data_store", "name"),
    "log_group": ("log_group_name", "log_group_identifier"),
    "guardrail": ("guardrail_identifier", "guardrail_id", "name"),
    "agreement": ("model_id",),
    "entitlement": ("model_id",),
    "use_case": (),
    "provisioned_throughput": ("provisioned_model_name", "provisioned_model_id"),
    "batch_job": ("job_name", "job_identifier"),
    "customization_job": ("job_name", "job_identifier", "fine_tuning_job", "custom_model_name", "model_name"),
    "import_job": ("job_name", "job_identifier", "imported_model_name"),
    "evaluation_job": ("job_name", "job_identifier"),
    "deployment": ("model_deployment_name", "custom_model_deployment_identifier", "endpoint_name", "endpoint_arn"),
    "marketplace_agreement": ("agreement_request_id", "agreement_id", "agreement_proposal_identifier"),
    "quota": ("quota_code", "service_code"),
    "budget": ("budget_name",),
    "cost_anomaly_monitor": ("monitor_arn", "subscription_arn"),
    "organization_policy": ("policy_id", "policy_type", "name"),
    "account": ("account_id", "email"),
    "object": ("bucket_name",),
    "bucket": ("bucket_name",),
    "secret": ("secret_id",),
    "parameter": ("name", "path", "names"),
    "knowledge_base": ("knowledge_base_id",),
    "agent": ("agent_id", "flow_identifier"),
    "session": ("session_identifier", "session_id", "memory_id"),
    "inference": ("response",),
    "file": ("file",),
    "project": ("project_id", "name"),
    "trust_anchor": ("name", "trust_anchor_id"),
    "trust_profile": ("name", "profile_id"),
    "permission_set": ("permission_set_arn", "name"),
    "account_assignment": ("permission_set_arn", "target_id"),
}
"""The request parameters that name each kind of target, the best first; a kind that is not here has no name."""
