"""Records of every format with a marker wherever they hold content, and real ones of others' logs."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from jackstop.events.schema import COLUMNS
from tests.events.sources import (
    cloud_samples,
    test_access_log,
    test_anthropic_activity,
    test_anthropic_usage,
    test_azure_activity,
    test_azure_openai,
    test_bedrock_invocations,
    test_cloudtrail_csv,
    test_gate,
    test_gcp_audit,
    test_litellm_spend,
    test_openai_audit,
    test_openai_usage,
    trail_samples,
)
from tests.shared import DATA

MARKER = "PlantedContentOf7f3aNobodyKeeps"
"""Stands in every prompt, completion, form text, body and query, and must be in nothing that reading leaves."""

_MARKS = (cloud_samples.MARKER, test_bedrock_invocations.MARK, test_litellm_spend.MARKER, test_access_log.SECRET)

Entry = dict[str, Any]


class Samples(NamedTuple):
    """Of one format: JSON records, rows of CSV, lines of text; `real` ones are without the marker."""

    records: list[Entry]
    rows: list[dict[str, str]] = []
    lines: list[str] = []
    real: list[Entry] = []


def _marked(value: Any) -> Any:
    text = msgspec.json.encode(value).decode()
    for mark in _MARKS:
        text = text.replace(mark, MARKER)
    return msgspec.json.decode(text)


def _trails() -> list[Entry]:
    content = {
        "body": MARKER,
        "formData": {"companyWebsite": MARKER},
        "input": {"text": [MARKER]},
        "inputText": MARKER,
        "messages": [{"role": "user", "content": MARKER}],
        "metadata": {"note": MARKER},
        "prompt": MARKER,
        "system": [{"text": MARKER}],
        "max_tokens": -1,
    }
    asked = {"modelId": "us.anthropic.claude-sonnet-4-5-20250929-v1:0", **content}
    answer = {"output": {"message": {"content": [{"text": MARKER}]}}}
    return [
        trail_samples.call(requestParameters=asked, responseElements=answer),
        trail_samples.call("bedrock-mantle", "CreateInference", requestParameters=asked, responseElements=answer),
        trail_samples.call(name="PutUseCaseForModelAccess", requestParameters={"formData": MARKER}),
        trail_samples.call("iam", "CreateAccessKey", responseElements={"accessKey": {"secretAccessKey": MARKER}}),
        trail_samples.call("secretsmanager", "GetSecretValue", responseElements={"secretString": MARKER}),
        {"version": "0", "detail-type": "AWS API Call via CloudTrail", "detail": trail_samples.call(
            name="Converse", requestParameters=asked, responseElements=answer)},
    ]  # fmt: skip


def _logged() -> list[Entry]:
    record = test_bedrock_invocations.invocation()
    return [record, {"id": "1", "timestamp": 1, "message": json.dumps(record)}]


def _lines() -> list[str]:
    query = f"GET /v1beta/models?key={MARKER} HTTP/1.1"
    return [
        test_access_log.nginx(query),
        test_access_log.nginx(f"POST /chat/{MARKER}?q={MARKER} HTTP/1.1"),
        test_access_log.nginx().replace("?q=2", f"?q={MARKER}"),
        test_access_log.nginx(rest=' "192.0.2.9" 0.250'),
        test_access_log.envoy(f"POST /v1/messages?api_key={MARKER} HTTP/2"),
        json.dumps(_marked(test_access_log.NGINX_JSON)),
        json.dumps(_marked(test_access_log.ENVOY_JSON)),
    ]


def _spent() -> dict[str, str]:
    return {
        name: json.dumps(value) if isinstance(value, dict | list) else str(value)
        for name, value in _marked(test_litellm_spend.row()).items()
    }


def _use() -> dict[str, str]:
    return {"start_time": "1772712000", "end_time": "1772798400", "start_time_iso": "x", "end_time_iso": "y",
            "num_model_requests": "3.0", "input_tokens": "1000.0", "output_tokens": "10", "model": "gpt-4o-mini",
            "api_key_id": "key_1", "project_id": "proj_1", "batch": "False", "amount_value": ""}  # fmt: skip


def _cost() -> Entry:
    return {"object": "organization.costs.result", "amount": {"value": 1.5, "currency": "usd"},
            "line_item": "gpt-4o-mini, input", "project_id": "proj_1"}  # fmt: skip


def _audits() -> list[Entry]:
    entry, tool = test_openai_audit.entry, test_openai_audit.TOOL
    return [
        entry("api_key.created", id="key_1", data={"scopes": ["all"]}),
        entry("service_account.created", tool, id="sa_1", data={"role": "member"}),
        {**entry("organization.updated", id="org", changes_requested={"description": MARKER, "title": MARKER}),
         "note": MARKER},
    ]  # fmt: skip


def _activities() -> list[Entry]:
    entry = test_anthropic_activity.entry
    return [
        entry("admin_api_key_created", admin_api_key_id="admin_api_key_1", scopes=["read:usage"]),
        entry("claude_chat_created", claude_chat_id="c", title=MARKER, text=MARKER, body={"prompt": [MARKER]}),
        entry("compliance_api_accessed", url=f"/v1/compliance?q={MARKER}", status_code=200, request_method="GET"),
    ]


def _events() -> list[Entry]:
    return [test_gate.row(unheard_of=MARKER, prompt=MARKER), test_gate.row(messages=[MARKER])]


def _azure_activity() -> list[Entry]:
    body = json.dumps({"properties": {"text": MARKER}})
    return [
        test_azure_activity.exported(test_azure_activity.LIST_KEYS, properties={"requestbody": body, "message": MARKER},
                                     uri=f"https://example.com/?key={MARKER}", resultDescription=MARKER),
        test_azure_activity.BY_REST,
        test_azure_activity.IN_SENTINEL,
    ]  # fmt: skip


def _azure_calls() -> list[Entry]:
    held = {"requestBody": {"messages": [MARKER]}, "responseBody": MARKER, "prompt": MARKER, "completion": [MARKER]}
    call = test_azure_openai.CALL
    return [{**call, "properties": {**call["properties"], **held}}, test_azure_openai.AUDIT,
            {**call, "properties": json.dumps({**call["properties"], **held})}]  # fmt: skip


def _buckets() -> list[Entry]:
    told = {"project_id": "proj_1", "api_key_id": "key_1", "model": "gpt-4o-mini"}
    return [
        test_openai_usage.bucket(test_openai_usage.completions(**told, note=MARKER)),
        test_openai_usage.bucket(_cost(), seconds=86_400),
    ]


def _as_text(record: Entry) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in record.items()
        if value is not None
    }


@lru_cache
def samples() -> dict[str, Samples]:
    """The records of each format by its name."""
    trails = _trails()
    found = {
        "access_log": Samples(
            [test_access_log.NGINX_JSON, test_access_log.ENVOY_JSON], [], _lines()
        ),
        "anthropic_activity": Samples(_activities(), real=_real("panther/Anthropic_Activity.ndjson")),
        "anthropic_usage": Samples([test_anthropic_usage.bucket(test_anthropic_usage.tokens(note=MARKER))]),
        "azure_activity": Samples(
            _azure_activity(), [_as_text(test_azure_activity.IN_SENTINEL)], [], _real("panther/Azure_Monitor*.ndjson")
        ),
        "azure_openai": Samples(_azure_calls(), [_as_text(test_azure_openai.IN_SENTINEL)]),
        "bedrock_invocations": Samples(_logged()),
        "cloudtrail": Samples(
            trails,
            [test_cloudtrail_csv.athena(trails[0]), test_cloudtrail_csv.lake(trails[1])],
            [],
            [*_real("stratus/*.json"), *_real("otrf_aws/*.json")],
        ),
        "gate": Samples(_events()),
        "gcp_audit": Samples(
            [test_gcp_audit.CALL, test_gcp_audit.CREATE_KEY], real=_real("panther/GCP_AuditLog.ndjson")
        ),
        "litellm_spend": Samples([test_litellm_spend.row()], [_spent()]),
        "openai_audit": Samples(_audits(), real=_real("panther/OpenAI_Audit.ndjson")),
        "openai_usage": Samples(_buckets(), [_use()]),
    }  # fmt: skip
    return {name: each._replace(records=_marked(each.records), rows=_marked(each.rows)) for name, each in found.items()}


def _real(pattern: str) -> list[Entry]:
    """Records of others' logs, none where the logs are not."""
    found: list[Entry] = []
    for path in sorted(DATA.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        try:
            held = json.loads(text)
        except ValueError:
            held = [json.loads(line) for line in text.splitlines() if line.strip()]
        records = held["Records"] if isinstance(held, dict) else held
        found += [each["log"] if "rule_id" in each else each for each in records]
    return found


NAMES = sorted({*COLUMNS, "id", "detail", "message", "role", "scopes", "amount", "status", "content", "type"})
"""Names that fields are given; those under which documents list records are not among them."""
