"""One record of every source with a marker wherever content can be: what must be nowhere afterwards."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

MARKER = "CONTENT-THAT-NOBODY-MAY-KEEP"
_TALK = [{"role": "user", "content": [{"text": MARKER}]}]
_NGINX = (
    '198.51.100.7 - - [05/Mar/2026:13:00:00 +0100] "POST /v1/chat/completions?q={marker} HTTP/1.1" 200 512 '
    '"https://chat.example.com/{marker}" "OpenAI/Python 2.8.0"'
)

RECORDS: dict[str, Any] = {
    "cloudtrail": {
        "eventVersion": "1.11",
        "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::123456789012:user/ci", "accessKeyId": "AKIAEXAMPLE"},
        "eventTime": "2026-11-20T10:00:00Z",
        "eventSource": "bedrock.amazonaws.com",
        "eventName": "InvokeModel",
        "awsRegion": "us-east-1",
        "sourceIPAddress": "198.51.100.7",
        "errorCode": "ValidationException",
        "errorMessage": f"the text {MARKER} is too long",
        "requestParameters": {
            "modelId": "anthropic.claude-3-sonnet-20240229-v1:0",
            **dict.fromkeys(("body", "formData", "input", "inputText", "prompt", "system"), MARKER),
            "messages": _TALK,
            "metadata": {"note": MARKER},
        },
        "responseElements": {"completion": MARKER},
        "eventID": "11111111-2222-3333-4444-555555555555",
        "recipientAccountId": "123456789012",
    },
    "bedrock_invocations": {
        "schemaType": "ModelInvocationLog",
        "schemaVersion": "1.0",
        "timestamp": "2026-11-20T10:00:00Z",
        "accountId": "123456789012",
        "identity": {"arn": "arn:aws:sts::123456789012:assumed-role/shop/i-0abc"},
        "region": "us-east-1",
        "requestId": "9e0ff76a-7cac-4a67-8d3f-5a6436a1e85b",
        "operation": "Converse",
        "modelId": "anthropic.claude-3-sonnet-20240229-v1:0",
        "input": {"inputBodyJson": {"system": [{"text": MARKER}], "messages": _TALK}, "inputTokenCount": 10},
        "output": {"outputBodyJson": {"output": {"message": {"content": [{"text": MARKER}]}}}, "outputTokenCount": 9},
        "requestMetadata": {"team": MARKER},
    },
    "azure_activity": {
        "time": "2026-11-20T10:00:00Z",
        "operationName": "MICROSOFT.COGNITIVESERVICES/ACCOUNTS/LISTKEYS/ACTION",
        "resourceId": "/SUBSCRIPTIONS/11111111-1111-1111-1111-111111111111/RESOURCEGROUPS/R/PROVIDERS"
        "/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/A",
        "category": "Administrative",
        "resultType": "Success",
        "resultDescription": MARKER,
        "callerIpAddress": "198.51.100.7",
        "correlationId": "22222222-2222-2222-2222-222222222222",
        "identity": {"claims": {"note": MARKER}},
        "properties": {"requestbody": MARKER, "responseBody": MARKER},
    },
    "azure_openai": {
        "time": "2026-11-20T10:00:00Z",
        "operationName": "ChatCompletions_Create",
        "resourceId": "/SUBSCRIPTIONS/11111111-1111-1111-1111-111111111111/RESOURCEGROUPS/R/PROVIDERS"
        "/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/A",
        "category": "RequestResponse",
        "callerIpAddress": "198.51.100.***",
        "correlationId": "33333333-3333-3333-3333-333333333333",
        "resultSignature": "200",
        "properties": json.dumps(
            {
                "modelDeploymentName": "gpt",
                **dict.fromkeys(("requestBody", "responseBody", "prompt", "completion"), MARKER),
            }
        ),
    },
    "gcp_audit": {
        "insertId": "abc123",
        "timestamp": "2026-11-20T10:00:00Z",
        "logName": "projects/p-1/logs/cloudaudit.googleapis.com%2Fdata_access",
        "resource": {"type": "audited_resource", "labels": {"project_id": "p-1"}},
        "textPayload": MARKER,
        "protoPayload": {
            "methodName": "google.cloud.aiplatform.v1.PredictionService.GenerateContent",
            "serviceName": "aiplatform.googleapis.com",
            "authenticationInfo": {"principalEmail": "sa@p-1.iam.gserviceaccount.com"},
            "requestMetadata": {"callerIp": "198.51.100.7"},
            "status": {"code": 3, "message": MARKER, "details": [{"reason": MARKER}]},
            "request": {"contents": MARKER},
            "response": {"candidates": MARKER},
            "metadata": {"note": MARKER},
            "serviceData": {"note": MARKER},
        },
    },
    "openai_audit": {
        "id": "audit_log-1",
        "type": "api_key.created",
        "effective_at": 1_795_000_000,
        "actor": {"type": "api_key", "api_key": {"id": "key_1"}},
        "api_key.created": {"id": "key_2", "data": {"scopes": ["all"], "name": MARKER, "note": MARKER}},
        "comment": MARKER,
    },
    "anthropic_activity": {
        "id": "activity_1",
        "type": "api_key_created",
        "created_at": "2026-11-20T10:00:00Z",
        "actor": {"type": "user_actor", "email_address": "a@example.com", "ip_address": "198.51.100.7"},
        "api_key_id": "apikey_1",
        "name": MARKER,
        "title": MARKER,
    },
    "litellm_spend": {
        "request_id": "chatcmpl-1",
        "call_type": "acompletion",
        "api_key": hashlib.sha256(b"a virtual key").hexdigest(),
        "spend": 1.5e-05,
        "total_tokens": 130,
        "prompt_tokens": 100,
        "completion_tokens": 30,
        "startTime": "2026-11-20T10:00:00Z",
        "endTime": "2026-11-20T10:00:01Z",
        "model": "gpt-4o-mini",
        "custom_llm_provider": "openai",
        "user": "one@example.com",
        "metadata": {"user_api_key_alias": MARKER},
        "end_user": MARKER,
        "messages": _TALK,
        "response": {"choices": [{"message": {"content": MARKER}}]},
        "proxy_server_request": {"body": {"messages": _TALK}},
        "status": "success",
    },
    "openai_usage": {
        "object": "bucket",
        "start_time": 1_795_000_000,
        "end_time": 1_795_003_600,
        "results": [
            {
                "object": "organization.usage.completions.result",
                "input_tokens": 1_000,
                "output_tokens": 100,
                "num_model_requests": 4,
                "api_key_id": "key_1",
                "model": "gpt-4o-mini",
                "note": MARKER,
            }
        ],
    },
    "anthropic_usage": {
        "starting_at": "2026-11-20T10:00:00Z",
        "ending_at": "2026-11-20T11:00:00Z",
        "results": [
            {
                "uncached_input_tokens": 1_000,
                "cache_creation": {"ephemeral_1h_input_tokens": 10, "ephemeral_5m_input_tokens": 90},
                "cache_read_input_tokens": 300,
                "output_tokens": 100,
                "api_key_id": "apikey_1",
                "workspace_id": "wrkspc_1",
                "model": "claude-sonnet-4-5-20250929",
                "note": MARKER,
            }
        ],
    },
    "access_log": _NGINX.replace("{marker}", MARKER),
}
"""Of every source that files can hold, but for the gate's own lake, which never has content."""


def plant(folder: Path) -> None:
    """Write each into a file of its own, and a line that no source can read."""
    for source, record in RECORDS.items():
        text = record if isinstance(record, str) else json.dumps(record)
        (folder / f"{source}.log").write_text(f"{text}\n", encoding="utf-8")
    broken = json.dumps({**RECORDS["cloudtrail"], "eventTime": MARKER, "eventID": "broken"})
    (folder / "broken.log").write_text(f"{json.dumps(RECORDS['cloudtrail'])}\n{broken}\n{{{MARKER}\n", encoding="utf-8")
