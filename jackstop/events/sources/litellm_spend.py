"""LiteLLM's spend logs as events: the table `LiteLLM_SpendLogs` as CSV or JSON, and answers of `/spend/logs`.

Facts: litellm 1.109.1, `litellm/proxy/schema.prisma` (the table), `litellm/proxy/_types.py` (`SpendLogsPayload`,
`SpendLogsMetadata`) and `litellm/types/utils.py` (`CallTypes`), read on 2026-11-23. `api_key` is the SHA-256 of a
virtual key, which is its name everywhere in LiteLLM; where an old row has the key itself, it is hashed alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from jackstop.events.schema import Event
from jackstop.events.sources.cloud import nested, number, outcome_of, time_us
from jackstop.events.sources.entry import Origin, UnreadableEntry, extra, kept, made, place
from jackstop.gate.messages import template
from jackstop.gate.traits import client_family
from jackstop.money import NUSD_PER_USD

PROVIDER = ""
"""The one that each row names."""
SHAPE = dict[str, Any]
LISTS = ("data",)
FORM: Literal["json", "text", "csv"] = "json"
GIVES: Literal["events", "usage"] = "events"
CONTENT = ("messages", "response", "proxy_server_request", "end_user", "metadata")
"""`metadata` but for the fields that are read below; `end_user` may be a person's name, and a hunt has no key for
fingerprints that the gate's could be compared with."""

_HEAD = ("request_id", "call_type", "startTime", "spend")
_EMPTY: tuple[Any, ...] = (None, "", "{}", "[]", "null", {}, [])
_JSON_CELLS = ("metadata", "request_tags")
_AGENT = "User-Agent: "
_MOST_NUSD = 1 << 60
_EXTRA = frozenset({"request_tags", "cache_hit", "model_id", "attempted_retries"})
_CLASSES = (
    ("create_batch", "commit_spend", "batches"),
    ("create_fine_tuning_job", "commit_spend", "fine_tuning"),
    ("create_file", "data_write", "files"),
    ("file_", "data_read", "files"),
    ("retrieve_batch", "data_read", "batches"),
    ("cancel_batch", "data_write", "batches"),
    ("vector_store", "data_read", "vector_stores"),
    ("text_completion", "inference", "completions"),
    ("completion", "inference", "chat.completions"),
    ("embedding", "inference", "embeddings"),
    ("anthropic_messages", "inference", "messages"),
    ("responses", "inference", "responses"),
    ("image_", "inference", "images"),
    ("video", "inference", "videos"),
    ("speech", "inference", "audio"),
    ("transcription", "inference", "audio"),
    ("realtime", "inference", "realtime"),
    ("generate_content", "inference", "generate_content"),
    ("moderation", "inference", "moderations"),
    ("rerank", "inference", "rerank"),
    ("pass_through", "inference", ""),
)
"""Starts of call types, without the letter that tells asynchronous ones."""
_OWN_REFUSALS = frozenset({"BudgetExceededError", "ProxyException", "ProxyModelNotFoundError", "RouterRateLimitError"})
"""Errors that LiteLLM raises itself before it calls a provider."""
_TOKEN_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def claims(record: Any) -> bool:
    """Whether it is a row of the table, as JSON or as CSV."""
    return isinstance(record, dict) and all(name in record for name in _HEAD)


def unwrapped(row: Any) -> dict[str, Any]:
    """A row of CSV with its JSON cells read. Raises UnreadableEntry."""
    if not isinstance(row, dict):
        raise UnreadableEntry("it is no row")
    return {name: _cell(value) if name in _JSON_CELLS else value for name, value in row.items()}


def read(entry: dict[str, Any], origin: Origin) -> Event:
    """The event of one row. Raises UnreadableEntry."""
    start_us = time_us(_text(entry, "startTime"))
    call = _text(entry, "call_type")
    event = made("litellm", _text(entry, "request_id"), start_us, call, origin)
    event.request_id = kept(entry.get("litellm_call_id")) or kept(entry.get("request_id"))
    event.action_class, event.endpoint = _class(call)
    event.provider = kept(entry.get("custom_llm_provider"))
    event.account = kept(entry.get("organization_id"))
    event.key_id = event.provider_key_id = _key(_text(entry, "api_key"))
    event.key_kind = "virtual" if event.key_id else ""
    event.owner, event.team = kept(entry.get("user")), kept(entry.get("team_id"))
    event.session = kept(entry.get("session_id"))
    event.model = kept(entry.get("model"))
    event.model_asked = kept(entry.get("model_group")) or event.model
    metadata = nested(entry, "metadata")
    tags = _tags(entry.get("request_tags"))
    _set_times(event, entry, start_us)
    _set_amounts(event, entry, metadata)
    _set_result(event, entry, metadata)
    _set_source(event, entry, metadata, tags)
    others = [tag for tag in tags if not tag.startswith(_AGENT)]
    content = {name: entry.get(name) for name in CONTENT if entry.get(name) not in _EMPTY}
    told = {name: entry.get(name) for name in ("cache_hit", "model_id") if entry.get(name) not in _EMPTY}
    event.extra = extra({**told, **content, **({"request_tags": others} if others else {})}, _EXTRA)
    return event


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""


def _cell(value: Any) -> Any:
    if not isinstance(value, str) or not value:
        return None
    try:
        return json.loads(value)
    except ValueError:
        return None


def _tags(value: Any) -> list[str]:
    """The tags of a request: a list, or JSON text of one."""
    given = _cell(value) if isinstance(value, str) else value
    return [tag for tag in given if isinstance(tag, str)] if isinstance(given, list) else []


def _class(call: str) -> tuple[str, str]:
    name = call.lstrip("_")
    for start, kind, endpoint in _CLASSES:
        if name.startswith((start, f"a{start}")):
            return kind, endpoint
    return "", ""


def _key(value: str) -> str:
    """The key's hash. What looks like the key itself is hashed as LiteLLM does."""
    return hashlib.sha256(value.encode()).hexdigest() if value.startswith("sk-") else kept(value)


def _set_times(event: Event, entry: Mapping[str, Any], start_us: int) -> None:
    end_us, first_us = (_optional_us(entry, name) for name in ("endTime", "completionStartTime"))
    milliseconds = number(entry.get("request_duration_ms"))
    if end_us is not None and end_us >= start_us:
        event.latency_us = end_us - start_us
    elif milliseconds is not None:
        event.latency_us = milliseconds * 1000
    # A request that was not streamed has its first token when it ends.
    if first_us is not None and end_us is not None and start_us <= first_us < end_us:
        event.ttft_us = first_us - start_us


def _optional_us(entry: Mapping[str, Any], name: str) -> int | None:
    text = _text(entry, name)
    return time_us(text) if text else None


def _set_amounts(event: Event, entry: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    event.cost_nusd = _nusd(entry.get("spend"))
    event.price_known = True
    asked, answered = number(entry.get("prompt_tokens")), number(entry.get("completion_tokens"))
    values = nested(metadata, "additional_usage_values")
    cached = number(values.get("cache_read_input_tokens")) or 0
    written = number(values.get("cache_creation_input_tokens")) or 0
    if asked is not None:
        # LiteLLM's number holds what was read from the cache and written to it.
        event.input_tokens = max(0, asked - cached - written)
        event.cache_read_tokens, event.cache_write_tokens = cached, written
    event.output_tokens = answered


def _nusd(spend: Any) -> int:
    """Dollars, which the table has as a float, as nano-dollars. Raises UnreadableEntry."""
    try:
        nusd = Decimal(str(spend)) * NUSD_PER_USD
        # Compared before it is written out: `1e999999` is a number too.
        if 0 <= nusd < _MOST_NUSD:
            return int(nusd.to_integral_value())
    except (ArithmeticError, ValueError):
        raise UnreadableEntry("its spend is no number") from None
    raise UnreadableEntry("its spend is negative, or beyond all measure")


def _set_result(event: Event, entry: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    event.decision = "admitted"
    if _text(entry, "status") != "failure" and metadata.get("status") != "failure":
        event.status = 200
        return
    error = nested(metadata, "error_information")
    event.status = number(error.get("error_code"))
    event.outcome = "error" if event.status is None else outcome_of(event.status)
    event.error_code = kept(error.get("error_class"))
    message = _text(error, "error_message")
    event.error_message = template(message)
    if event.error_code in _OWN_REFUSALS:
        event.decision = "refused"
    if event.outcome == "invalid" and any(name in message for name in _TOKEN_LIMITS):
        event.markers = "probe:token_limit"


def _set_source(event: Event, entry: Mapping[str, Any], metadata: Mapping[str, Any], tags: list[str]) -> None:
    tagged = next((tag.removeprefix(_AGENT) for tag in tags if tag.startswith(_AGENT)), None)
    agent = metadata.get("user_agent")
    if not isinstance(agent, str):
        agent = tagged
    place(event, _text(entry, "requester_ip_address"), agent)
    event.src_trust = "peer" if event.src_ip else ""
    event.client = client_family(agent, "") if agent else ""
