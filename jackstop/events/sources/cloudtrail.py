"""AWS CloudTrail's records as events: management, data, network-activity and Insights events.

They come as trails' files (`{"Records": […]}`), JSON lines, events of EventBridge (`detail`), answers of
`lookup-events` (`CloudTrailEvent`), CloudWatch Logs (`message`) and CloudTrail Lake (`eventData`).

Facts: docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html, docs.aws.
amazon.com/bedrock/latest/userguide/logging-using-cloudtrail.html and logging-cloudtrail-mantle.html, read on
2026-11-23.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

import msgspec

from jackstop.clock import from_datetime
from jackstop.events.schema import Event
from jackstop.events.sources import cloudtrail_words as words
from jackstop.events.sources.cloudtrail_asked import TOKEN_LIMIT, look_into, mark
from jackstop.events.sources.cloudtrail_caller import INTERNAL, SUFFIX, set_caller, set_place, word
from jackstop.events.sources.cloudtrail_csv import is_row, of_row
from jackstop.events.sources.cloudtrail_shape import Identity, Insight, Record
from jackstop.events.sources.entry import Origin, UnreadableEntry, event_id, kept, valid
from jackstop.gate.messages import template

PROVIDER = "aws"
GIVES: Literal["events"] = "events"
FORM: Literal["json"] = "json"
SHAPE = Record
LISTS = ("Records", "Events", "logEvents", "events")
CONTENT = (
    "requestParameters.body",
    "requestParameters.formData",
    "requestParameters.input",
    "requestParameters.inputText",
    "requestParameters.messages",
    "requestParameters.metadata",
    "requestParameters.prompt",
    "requestParameters.system",
    "responseElements",
)
"""Dropped and counted in Bedrock's events. Of other services' parameters only the names of things are read."""

_MESSAGE_CHARS = 300
_UUID_CHARS = 36
_HOUR_CHARS = 14
_ALIKE = 8_192
_ABSENT = frozenset({b"", b"null"})
_RECORD = msgspec.json.Decoder(Record)
_IDENTITY = msgspec.json.Decoder(Identity)
_copied: Callable[[Event], Event] = Event.__copy__  # type: ignore[attr-defined]  # msgspec has it, its stub does not
_ENVELOPES = ("detail", "CloudTrailEvent", "message", "eventData")


def claims(record: Any) -> bool:
    """Whether an object or a row of CSV is one of CloudTrail's records, or an envelope around one."""
    if not isinstance(record, dict):
        return False
    if ("eventVersion" in record and "eventID" in record) or ("eventversion" in record and "eventid" in record):
        return True
    kind = record.get("detail-type")
    if isinstance(kind, str):
        return kind.endswith(" via CloudTrail") and "detail" in record
    inner = record.get("CloudTrailEvent") or record.get("message")
    if isinstance(inner, str):
        return inner.lstrip().startswith("{") and '"eventVersion"' in inner and '"eventID"' in inner
    held = record.get("eventData")
    return isinstance(held, dict) and "eventID" in held


def unwrapped(record: dict[str, Any]) -> Record:
    """The record in an envelope of EventBridge, `lookup-events`, CloudWatch Logs or Lake, or in a row of CSV.

    Raises UnreadableEntry.
    """
    if is_row(record):
        return of_row(record)
    held = next((record[name] for name in _ENVELOPES if record.get(name)), record)
    try:
        return _RECORD.decode(held if isinstance(held, str) else msgspec.json.encode(held))
    except (msgspec.MsgspecError, RecursionError, TypeError, UnicodeEncodeError):
        raise UnreadableEntry("what its envelope holds is no record") from None


def read(entry: Record, origin: Origin) -> Event:
    """The event of one record. Raises UnreadableEntry."""
    ts = _time(entry.event_time or entry.logstash_time)
    number = entry.event_id
    valid(number, ts, origin)
    alike, looked_into = _alike(
        bytes(entry.user_identity),
        entry.event_source,
        entry.event_name,
        entry.event_type,
        entry.event_category,
        entry.aws_region,
        entry.source_ip,
        entry.user_agent,
        entry.recipient_account_id,
        entry.read_only,
        entry.management_event,
        entry.session_credential_from_console,
    )
    event = _copied(alike)
    event.ts, event.seen_ts = ts, origin.now_us
    event.event_id = event_id(PROVIDER, number)
    event.raw_ref = f"{origin.ref}#{number}"
    event.request_id = _request_id(entry.request_id)
    if entry.error_code or entry.error_message:
        _set_error(event, entry)
    if looked_into:
        look_into(event, entry)
    if entry.event_category == "Insight" or entry.insight_details is not None:
        _set_insight(event, entry)
    return event


def _time(text: str | None) -> int:
    """A time as CloudTrail, its Lake or Logstash writes it. Raises UnreadableEntry."""
    if text is None:
        raise UnreadableEntry("it has no eventTime")
    # Neighbours are of the same hour, and an hour has few seconds.
    return _hour(text[:_HOUR_CHARS]) + _within(text[_HOUR_CHARS:])


@lru_cache(maxsize=4096)
def _hour(text: str) -> int:
    return _moment(f"{text}00:00Z")


@lru_cache(maxsize=8192)
def _within(text: str) -> int:
    return _moment(f"1970-01-01T00:{text}")


def _moment(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        return from_datetime(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise UnreadableEntry("its eventTime is none") from None


def _request_id(text: str | None) -> str:
    # Almost all are UUIDs, which need no closer look.
    if text and len(text) == _UUID_CHARS and text[8] == text[13] == text[18] == "-" and text.isascii():
        return text
    return kept(text)


@lru_cache(maxsize=_ALIKE)
def _alike(
    identity: bytes,
    source: str | None,
    name: str | None,
    kind: str | None,
    category: str | None,
    region: str | None,
    address: str | None,
    agent: str | None,
    recipient: str | None,
    read_only: bool | str | None,
    management: bool | str | None,
    from_console: bool | str | None,
) -> tuple[Event, bool]:
    """What the calls of one caller, from one place, by one name have in common; and whether to look into parameters.

    Callers do the same again and again: most records are like one before, but for their time and ids.
    """
    event = Event(source="cloudtrail", provider=PROVIDER, outcome="ok", region=kept(region))
    event.service, event.action = kept((source or "").removesuffix(SUFFIX)), kept(name)
    act = words.ACTS.get(event.service, {}).get(name or "")
    event.action_class, event.target_kind, event.change = act or words.Act()
    if category == "Data" or management in _FALSE:
        mark(event, "data_event")
    elif category == "NetworkActivity":
        mark(event, "network_activity")
    if read_only in _TRUE:
        mark(event, "read_only")
    set_place(event, address, agent)
    who = _identity(identity)
    event.account = kept(recipient or who.account_id)
    set_caller(event, who)
    if from_console in _TRUE or kind in _CONSOLE_TYPES:
        event.auth_method = "console"
    if who.invoked_by or address == INTERNAL:
        mark(event, "internal")
    if who.account_id and recipient and who.account_id != recipient:
        mark(event, "cross_account")
    return event, act is not None or event.service in words.BEDROCK


def _identity(raw: bytes) -> Identity:
    if raw in _ABSENT:
        return Identity()
    try:
        return _IDENTITY.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        raise UnreadableEntry("its userIdentity is none") from None


_TRUE = (True, "true")
_FALSE = (False, "false")
_CONSOLE_TYPES = frozenset({"AwsConsoleSignIn", "AwsConsoleAction"})


def _set_error(event: Event, record: Record) -> None:
    message = record.error_message or ""
    event.error_code = word(record.error_code)
    event.outcome = outcome_of(record.error_code or message)
    event.error_message = _message(message)
    if event.outcome == "invalid" and _is_too_low(message):
        mark(event, TOKEN_LIMIT)


@lru_cache(maxsize=4096)
def _message(text: str) -> str:
    # What an encoded message consists of is long, and its words are none.
    return template(text[:_MESSAGE_CHARS].partition("Encoded authorization")[0])


_CAPS = ("max_tokens", "maxTokens", "max_gen_len", "maxTokenCount", "max_completion_tokens", "max_new_tokens")
"""How models of Bedrock name the cap on their output; `max_tokens_to_sample` begins as the first."""
_LOWEST = ("greater or equal", "greater than or equal", "range:", " -1", "'-1'")
_MISTAKES = (
    "exceed", "maximum allowed", "less or equal", "less than or equal", "budget_tokens",
    "required", "extraneous", "not permitted", "not supported",
)  # fmt: skip
"""What is said of a cap that is too high, missing, unknown to a model or beside a long input: mistakes of programs."""


def _is_too_low(message: str) -> bool:
    """Whether a model's complaint about a cap may be that no answer fits into it."""
    if not any(name in message for name in _CAPS):
        return False
    return any(part in message for part in _LOWEST) or not any(part in message for part in _MISTAKES)


@lru_cache(maxsize=4096)
def outcome_of(code: str) -> str:
    """The outcome of one of AWS's error codes, or of a message where there is no code."""
    small = code.lower()
    for parts, outcome in _OUTCOMES:
        if any(part in small for part in parts.split()):
            return outcome
    return "error"


_DENIED = """
    accessdenied unauthorized notauthorized forbidden authfailure authentication invalidclienttokenid signature
    unrecognizedclient expiredtoken accessexception optinrequired
    """
_INVALID = """
    validation invalid malformed missing parameter badrequest conflict exists limitexceeded notready unsupported
    """
_OUTCOMES = (
    ("throttl toomanyrequests requestlimitexceeded slowdown throughputexceeded quotaexceeded", "throttled"),
    (_DENIED, "denied"),
    ("notfound nosuch doesnotexist", "not_found"),
    (_INVALID, "invalid"),
)
"""Parts of AWS's error codes in small letters, and what they tell; the first that fits."""


def _set_insight(event: Event, record: Record) -> None:
    """An Insights event is about calls, and is none: its own type is the action, the calls' name the target."""
    held = record.insight_details or Insight(
        record.insight_state, record.insight_event_source, record.insight_event_name, record.insight_type
    )
    event.service = kept((held.event_source or "").removesuffix(SUFFIX))
    event.action = kept(held.insight_type) or "Insight"
    event.action_class, event.target_kind, event.target_id = "", "api", kept(held.event_name)
    event.change = kept(held.state).lower()
    mark(event, "insight")
