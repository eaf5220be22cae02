"""What Sigma calls the fields of our sources, and the columns that keep them.

Field names are those of SigmaHQ's rules for `aws/cloudtrail`, `azure/activitylogs` and `gcp/gcp.audit` (repository
SigmaHQ/sigma, rules/cloud, of 2026-08-05). Only what a column keeps as it was is here: a rule on anything else would
find something else than its author meant. `jackstop/NAME` are our own events, whose fields are the columns.
"""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from jackstop.events.lake import SCHEMA

AWS_SUFFIX = ".amazonaws.com"


class Field(NamedTuple):
    """A column. `words` are conditions for the log's values where only those can be said; `suffix` is what we cut off.

    With `others` set, values that are no address stand in that column instead. `within` is a list of markers of which
    the value true is one.
    """

    column: str
    words: dict[str, str] | None = None
    suffix: str = ""
    others: str = ""
    within: str = ""


class Source(NamedTuple):
    """Where the events of a log source are, who acts in them, and its fields in small letters."""

    name: str
    entity: str
    fields: dict[str, Field]


_IDENTITY = "CASE WHEN principal <> '' THEN 'principal:' || principal ELSE 'account:' || account END"
_KEY = "CASE WHEN key_id <> '' THEN 'key:' || key_id ELSE 'account:' || account END"
_AWS_KINDS = {
    "root": "principal_kind = 'root'",
    "awsaccount": "principal_kind = 'account'",
    "federateduser": "(principal_kind = 'federated' AND session <> '')",
    "iamuser": "(principal_kind = 'user' AND principal LIKE 'arn:%')",
    "assumedrole": "(principal_kind = 'role' AND session <> '')",
}
"""Several of AWS's types are of one kind with us. AWSService is not here: calls on somebody's behalf are of it too."""

_CLOUDTRAIL = {
    "eventName": Field("action"),
    "eventSource": Field("service", suffix=AWS_SUFFIX),
    "awsRegion": Field("region"),
    "errorCode": Field("error_code"),
    "userAgent": Field("user_agent"),
    "sourceIPAddress": Field("src_ip", others="src_raw"),
    "userIdentity.type": Field("principal_kind", words=_AWS_KINDS),
    "userIdentity.accessKeyId": Field("provider_key_id"),
    "requestID": Field("request_id"),
    "readOnly": Field("markers", within="read_only"),
    "additionalEventData.inferenceRegion": Field("inference_region"),
}
_AZURE = {
    "operationName": Field("action"),
    "OperationNameValue": Field("action"),
    "callerIpAddress": Field("src_ip"),
    "caller": Field("principal"),
    "correlationId": Field("request_id"),
}
_GCP = {
    "gcp.audit.method_name": Field("action"),
    "data.protoPayload.methodName": Field("action"),
    "data.protoPayload.serviceName": Field("service", suffix=".googleapis.com"),
    "gcp.audit.service_name": Field("service", suffix=".googleapis.com"),
    "data.protoPayload.requestMetadata.callerIp": Field("src_ip"),
    "data.protoPayload.authenticationInfo.principalEmail": Field("principal"),
}
_OURS = {field.name: Field(field.name) for field in SCHEMA if field.type == pa.string() and field.name != "extra"}


def _small(fields: dict[str, Field]) -> dict[str, Field]:
    return {name.lower(): field for name, field in fields.items()}


SOURCES: dict[tuple[str, str], Source] = {
    ("aws", "cloudtrail"): Source("cloudtrail", _IDENTITY, _small(_CLOUDTRAIL)),
    ("azure", "activitylogs"): Source("azure_activity", _IDENTITY, _small(_AZURE)),
    ("gcp", "gcp.audit"): Source("gcp_audit", _IDENTITY, _small(_GCP)),
    **{
        ("jackstop", name): Source(name, entity, _OURS)
        for name, entity in (
            ("gate", _KEY),
            ("cloudtrail", _IDENTITY),
            ("bedrock_invocations", _IDENTITY),
            ("azure_activity", _IDENTITY),
            ("azure_openai", _IDENTITY),
            ("gcp_audit", _IDENTITY),
            ("openai_audit", _IDENTITY),
            ("anthropic_activity", _IDENTITY),
            ("litellm_spend", _KEY),
            ("access_log", _KEY),
        )
    },
}
"""By Sigma's product and service."""
