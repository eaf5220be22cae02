"""What is decoded of a CloudTrail record: the fields that become columns, and of the rest nothing.

Facts: docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html,
cloudtrail-event-reference-user-identity.html and cloudtrail-insights-fields-{trails,lake}.html, read on 2026-11-23.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Issuer(msgspec.Struct, gc=False):
    """Whose rights the session has."""

    arn: str | None = None


class SessionContext(msgspec.Struct, rename="camel", gc=False):
    """How temporary keys came to be."""

    session_issuer: Issuer | None = None


class OnBehalfOf(msgspec.Struct, rename="camel", gc=False):
    """A person of IAM Identity Center."""

    user_id: str | None = None


class Identity(msgspec.Struct, rename="camel", gc=False):
    """Who called. Which of these there are depends on `type`."""

    type: str | None = None
    arn: str | None = None
    account_id: str | None = None
    access_key_id: str | None = None
    user_name: str | None = None
    principal_id: str | None = None
    invoked_by: str | None = None
    session_context: SessionContext | None = None
    on_behalf_of: OnBehalfOf | None = None


class Insight(msgspec.Struct, rename="camel", gc=False):
    """What an Insights event is about."""

    state: str | None = None
    event_source: str | None = None
    event_name: str | None = None
    insight_type: str | None = None


class Record(msgspec.Struct, rename="camel", gc=False):
    """One record. What may hold content, or anything, stays undecoded."""

    event_id: str = msgspec.field(name="eventID")
    event_time: str | None = None
    event_source: str | None = None
    event_name: str | None = None
    event_type: str | None = None
    event_category: str | None = None
    aws_region: str | None = None
    source_ip: str | None = msgspec.field(default=None, name="sourceIPAddress")
    user_agent: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    user_identity: msgspec.Raw = msgspec.Raw()
    request_id: str | None = msgspec.field(default=None, name="requestID")
    recipient_account_id: str | None = None
    read_only: bool | str | None = None
    management_event: bool | str | None = None
    session_credential_from_console: bool | str | None = None
    request_parameters: msgspec.Raw = msgspec.Raw()
    response_elements: msgspec.Raw = msgspec.Raw()
    additional_event_data: msgspec.Raw = msgspec.Raw()
    insight_details: Insight | None = None
    # In CloudTrail Lake the same stands beside the rest.
    insight_type: str | None = None
    insight_state: str | None = None
    insight_event_source: str | None = None
    insight_event_name: str | None = None
    # The time as Logstash's codec keeps it, where it took `eventTime` away.
    logstash_time: str | None = msgspec.field(default=None, name="@timestamp")


class Asked(msgspec.Struct, rename="camel", gc=False):
    """The request parameters that name things, of any service: `TARGETS` says which, and what may be content."""

    model_id: Any = None
    model_identifier: Any = None
    model: Any = None
    base_model_identifier: Any = None
    inference_profile_identifier: Any = None
    user_name: Any = None
    role_name: Any = None
    role_arn: Any = None
    group_name: Any = None
    policy_name: Any = None
    policy_arn: Any = None
    serial_number: Any = None
    name: Any = None
    saml_provider_arn: Any = msgspec.field(default=None, name="sAMLProviderArn")
    url: Any = None
    trail_name: Any = None
    event_data_store: Any = None
    log_group_name: Any = None
    log_group_identifier: Any = None
    guardrail_identifier: Any = None
    guardrail_id: Any = None
    provisioned_model_name: Any = None
    provisioned_model_id: Any = None
    job_name: Any = None
    job_identifier: Any = None
    fine_tuning_job: Any = None
    custom_model_name: Any = None
    model_name: Any = None
    imported_model_name: Any = None
    model_deployment_name: Any = None
    custom_model_deployment_identifier: Any = None
    endpoint_name: Any = None
    endpoint_arn: Any = None
    agreement_request_id: Any = None
    agreement_id: Any = None
    agreement_proposal_identifier: Any = None
    quota_code: Any = None
    service_code: Any = None
    budget_name: Any = None
    monitor_arn: Any = None
    subscription_arn: Any = None
    policy_id: Any = None
    policy_type: Any = None
    account_id: Any = None
    email: Any = None
    bucket_name: Any = None
    key: Any = None
    secret_id: Any = None
    path: Any = None
    names: Any = None
    knowledge_base_id: Any = None
    agent_id: Any = None
    flow_identifier: Any = None
    session_identifier: Any = None
    session_id: Any = None
    memory_id: Any = None
    response: Any = None
    file: Any = None
    project_id: Any = msgspec.field(default=None, name="project_id")
    trust_anchor_id: Any = None
    profile_id: Any = None
    permission_set_arn: Any = None
    target_id: Any = None
    # What the act was, beyond its name.
    status: Any = None
    service_name: Any = None
    stream: Any = None
    service_tier: Any = msgspec.field(default=None, name="service_tier")
    max_tokens: Any = msgspec.field(default=None, name="max_tokens")
    call_with_bearer_token: Any = None
    is_multi_region_trail: Any = None
    include_global_service_events: Any = None
    logging_config: Any = None
    event_selectors: Any = None
    advanced_event_selectors: Any = None
    # Content: counted only.
    body: msgspec.Raw = msgspec.Raw()
    form_data: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
    input_text: msgspec.Raw = msgspec.Raw()
    messages: msgspec.Raw = msgspec.Raw()
    metadata: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()
    system: msgspec.Raw = msgspec.Raw()


class Additional(msgspec.Struct, rename="camel", gc=False):
    """`additionalEventData` of Bedrock and of sign-in."""

    call_with_bearer_token: Any = None
    inference_region: Any = None
    mfa_used: Any = msgspec.field(default=None, name="MFAUsed")


class Answer(msgspec.Struct, gc=False):
    """`responseElements` of sign-in; of nothing else is the answer looked at."""

    console_login: Any = msgspec.field(default=None, name="ConsoleLogin")
