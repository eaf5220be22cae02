"""Amazon Bedrock's model-invocation log as events: who called which model, and how many tokens it took.

It holds prompts and answers. They are looked at for the cap, counts and the reason for stopping, and dropped. Facts:
docs.aws.amazon.com/bedrock/latest/userguide/model-invocation-logging.html and docs.panther.com/data-onboarding/
supported-logs/aws/bedrock-model-invocation (the schema's fields), read on 2026-11-23. There is a record for each call
of `bedrock-runtime`, none for `bedrock-mantle`, and none says from where, or with which key.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from jackstop.clock import from_datetime
from jackstop.events.schema import Event
from jackstop.events.sources import cloudtrail_words as words
from jackstop.events.sources.cloudtrail import outcome_of
from jackstop.events.sources.cloudtrail_asked import TOKEN_LIMIT, model_of
from jackstop.events.sources.cloudtrail_caller import of_arn, word
from jackstop.events.sources.entry import Origin, UnreadableEntry, kept, made
from jackstop.gate.meter.base import Usage
from jackstop.ledger import prices

PROVIDER = "aws"
GIVES: Literal["events"] = "events"
FORM: Literal["json"] = "json"
LISTS = ("logEvents", "events")
CONTENT = (
    "input.inputBodyJson",
    "input.inputBodyS3Path",
    "output.outputBodyJson",
    "output.outputBodyS3Path",
    "requestMetadata",
)
"""Of `requestMetadata` the names are kept, which are the application's own; its values are not."""

_TYPE = "ModelInvocationLog"
_ABSENT = frozenset({b"", b"null"})
_REASON = re.compile(r"[A-Za-z_]{1,40}")
_LISTED = 16
_US_PER_MS = 1000


class _Input(msgspec.Struct, rename="camel", gc=False):
    input_body_json: msgspec.Raw = msgspec.Raw()
    input_body_s3_path: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="inputBodyS3Path")
    input_token_count: int | None = None
    cache_read_input_token_count: int | None = None
    cache_write_input_token_count: int | None = None


class _Output(msgspec.Struct, rename="camel", gc=False):
    output_body_json: msgspec.Raw = msgspec.Raw()
    output_body_s3_path: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="outputBodyS3Path")
    output_token_count: int | None = None


class _Identity(msgspec.Struct, gc=False):
    arn: str | None = None


class Invocation(msgspec.Struct, rename="camel", gc=False):
    """One record; bodies stay undecoded."""

    request_id: str
    timestamp: datetime
    model_id: str
    operation: str = ""
    account_id: str | None = None
    region: str | None = None
    inference_region: str | None = None
    identity: _Identity | None = None
    error_code: str | None = None
    service_tier: str | None = None
    input: _Input | None = None
    output: _Output | None = None
    request_metadata: dict[str, msgspec.Raw] | None = None


SHAPE = Invocation


class _Config(msgspec.Struct, rename="camel", gc=False):
    max_tokens: Any = None
    max_token_count: Any = None
    max_new_tokens: Any = msgspec.field(default=None, name="max_new_tokens")


class _Tools(msgspec.Struct, gc=False):
    tools: msgspec.Raw = msgspec.Raw()


class _Body(msgspec.Struct, gc=False):
    """Of a request's body how large an answer it asks for, and how many messages and tools it has."""

    max_tokens: Any = None
    max_tokens_to_sample: Any = None
    max_completion_tokens: Any = None
    max_gen_len: Any = None
    inference_config: _Config | None = msgspec.field(default=None, name="inferenceConfig")
    text_config: _Config | None = msgspec.field(default=None, name="textGenerationConfig")
    messages: msgspec.Raw = msgspec.Raw()
    tools: msgspec.Raw = msgspec.Raw()
    tool_config: _Tools | None = msgspec.field(default=None, name="toolConfig")


class _Delta(msgspec.Struct, gc=False):
    stop_reason: Any = None


class _Stop(msgspec.Struct, gc=False):
    reason: Any = msgspec.field(default=None, name="stopReason")


class _Metrics(msgspec.Struct, gc=False):
    latency_ms: Any = msgspec.field(default=None, name="latencyMs")
    invocation_latency: Any = msgspec.field(default=None, name="invocationLatency")


class _Metadata(msgspec.Struct, gc=False):
    metrics: _Metrics | None = None


class _Answer(msgspec.Struct, gc=False):
    """Of an answer, or of a part of a streamed one, why it ended and how long it took."""

    converse: Any = msgspec.field(default=None, name="stopReason")
    anthropic: Any = msgspec.field(default=None, name="stop_reason")
    titan: Any = msgspec.field(default=None, name="completionReason")
    delta: _Delta | None = None
    message_stop: _Stop | None = msgspec.field(default=None, name="messageStop")
    metrics: _Metrics | None = None
    metadata: _Metadata | None = None
    measured: _Metrics | None = msgspec.field(default=None, name="amazon-bedrock-invocationMetrics")


_RECORD = msgspec.json.Decoder(Invocation)
_BODY = msgspec.json.Decoder(_Body)
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_ANSWER = msgspec.json.Decoder(_Answer)


def claims(record: Any) -> bool:
    """Whether a decoded object is one of the log's records, or CloudWatch Logs' around one."""
    if not isinstance(record, dict):
        return False
    message = record.get("message")
    if isinstance(message, str):
        return message.lstrip().startswith("{") and f'"{_TYPE}"' in message
    return record.get("schemaType") == _TYPE


def unwrapped(record: dict[str, Any]) -> Invocation:
    """The record in one of CloudWatch Logs. Raises UnreadableEntry."""
    held = record.get("message", record)
    try:
        return _RECORD.decode(held if isinstance(held, str) else msgspec.json.encode(held))
    except (msgspec.MsgspecError, RecursionError, TypeError, UnicodeEncodeError):
        raise UnreadableEntry("what its envelope holds is no record") from None


def read(entry: Invocation, origin: Origin) -> Event:
    """The event of one record. Raises UnreadableEntry."""
    at = entry.timestamp if entry.timestamp.tzinfo is not None else entry.timestamp.replace(tzinfo=UTC)
    # The log goes to S3 and to CloudWatch Logs; both copies have the same request and time.
    event = made(PROVIDER, f"{entry.request_id}/{entry.timestamp.isoformat()}", _us(at), entry.operation, origin)
    event.source, event.provider, event.service = "bedrock_invocations", PROVIDER, "bedrock"
    event.account, event.region = word(entry.account_id), word(entry.region)
    event.inference_region = word(entry.inference_region)
    if entry.identity is not None and entry.identity.arn:
        event.principal, event.principal_kind, event.session = of_arn(entry.identity.arn)
    event.request_id = kept(entry.request_id)
    event.model_asked, event.model = model_of(entry.model_id)
    event.action_class = words.ACTS["bedrock"].get(entry.operation, _INFERENCE).action_class
    event.stream = "Stream" in entry.operation
    event.service_tier = kept(entry.service_tier)
    if entry.error_code:
        event.error_code, event.outcome = word(entry.error_code), outcome_of(entry.error_code)
    _set_request(event, entry.input)
    _set_answer(event, entry.output)
    _set_cost(event, entry.model_id)
    event.extra = _extra(entry)
    return event


_INFERENCE = words.Act("inference")


def _us(moment: datetime) -> int:
    try:
        return from_datetime(moment)
    except (OverflowError, ValueError):
        raise UnreadableEntry("its timestamp is none") from None


def _set_request(event: Event, sent: _Input | None) -> None:
    if sent is None:
        return
    event.input_tokens = _number(sent.input_token_count)
    event.cache_read_tokens = _number(sent.cache_read_input_token_count)
    event.cache_write_tokens = _number(sent.cache_write_input_token_count)
    raw = _text(sent.input_body_json)
    if raw in _ABSENT:
        return
    event.request_bytes = len(raw)
    try:
        body = _BODY.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return
    event.messages_n = _count(body.messages)
    held = (body.tools, body.tool_config.tools if body.tool_config is not None else msgspec.Raw())
    event.tools_n = max(_count(each) or 0 for each in held)
    event.max_output_asked = _cap(body)
    if event.max_output_asked is not None and event.max_output_asked <= 0:
        event.markers = TOKEN_LIMIT


def _cap(body: _Body) -> int | None:
    """The cap on the output that a body asks for, by whichever name the model has for it."""
    asked = [body.max_tokens, body.max_tokens_to_sample, body.max_completion_tokens, body.max_gen_len]
    for config in (body.inference_config, body.text_config):
        if config is not None:
            asked += [config.max_tokens, config.max_token_count, config.max_new_tokens]
    return next((each for each in asked if type(each) is int and abs(each) < _INT64), None)


_INT64 = 1 << 63


def _number(count: int | None) -> int | None:
    return count if count is not None and 0 <= count < _INT64 else None


def _count(raw: msgspec.Raw) -> int | None:
    """How many things a list has; None for what is no list."""
    if bytes(raw) in _ABSENT:
        return None
    try:
        return len(_LIST.decode(raw))
    except (msgspec.DecodeError, RecursionError):
        return None


def _text(raw: msgspec.Raw) -> bytes:
    """A body as JSON, which may stand in a text of its own."""
    held = bytes(raw)
    if held.startswith(b'"'):
        try:
            return msgspec.json.decode(held, type=str).encode()
        except msgspec.DecodeError:
            return b""
    return held


def _set_answer(event: Event, got: _Output | None) -> None:
    if got is None:
        return
    event.output_tokens = _number(got.output_token_count)
    raw = _text(got.output_body_json)
    if raw in _ABSENT:
        return
    event.response_bytes = len(raw)
    # The end of a streamed answer is in its last parts.
    for part in reversed(_parts(raw)):
        reason, latency_ms = _ended(part)
        if reason and not event.stop_reason:
            event.stop_reason = reason
        if latency_ms is not None and event.latency_us is None:
            event.latency_us = latency_ms * _US_PER_MS


def _parts(raw: bytes) -> list[_Answer]:
    try:
        whole = _LIST.decode(raw) if raw.lstrip().startswith(b"[") else [msgspec.Raw(raw)]
    except (msgspec.DecodeError, RecursionError):
        return []
    found = []
    for each in whole[-_LISTED:]:
        try:
            found.append(_ANSWER.decode(each))
        except (msgspec.DecodeError, RecursionError):
            continue
    return found


def _ended(part: _Answer) -> tuple[str, int | None]:
    reasons = [part.converse, part.anthropic, part.titan]
    reasons += [part.delta.stop_reason if part.delta else None, part.message_stop.reason if part.message_stop else None]
    reason = next((each for each in reasons if isinstance(each, str) and _REASON.fullmatch(each)), "")
    for metrics in (part.metrics, part.measured, part.metadata.metrics if part.metadata else None):
        for took in (metrics.latency_ms, metrics.invocation_latency) if metrics is not None else ():
            if isinstance(took, int | float) and 0 <= took < _LONGEST_MS:
                return reason, int(took)
    return reason, None


_LONGEST_MS = 86_400_000


def _set_cost(event: Event, model: str) -> None:
    """At list price, where the model has one; a call that failed before it counted anything costs nothing."""
    if event.input_tokens is None and event.output_tokens is None:
        return
    usage = Usage(
        input_tokens=event.input_tokens or 0,
        cache_read_tokens=event.cache_read_tokens or 0,
        cache_write_tokens=event.cache_write_tokens or 0,
        output_tokens=event.output_tokens or 0,
    )
    price = prices.cost("aws", model.rpartition("/")[2], usage, event.ts)
    event.price_known = price.known
    if price.known and price.nusd < _INT64:
        event.cost_nusd = price.nusd


def _extra(entry: Invocation) -> str:
    """The names of the request's metadata, and how much content was dropped."""
    held: list[msgspec.Raw] = []
    if entry.input is not None:
        held += [entry.input.input_body_json, entry.input.input_body_s3_path]
    if entry.output is not None:
        held += [entry.output.output_body_json, entry.output.output_body_s3_path]
    named = entry.request_metadata or {}
    found: dict[str, Any] = {}
    if named:
        found["request_metadata"] = [kept(name) for name in list(named)[:_LISTED]]
    dropped = sum(bytes(each) not in _ABSENT for each in held) + len(named)
    if dropped:
        found["content_dropped"] = dropped
    return msgspec.json.encode(found, order="sorted").decode() if found else ""
