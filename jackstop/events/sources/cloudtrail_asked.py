"""What a call that CloudTrail recorded asked for: its target, its model, its sign-in. Content is counted only."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from jackstop.events.schema import Event
from jackstop.events.sources import cloudtrail_words as words
from jackstop.events.sources.cloudtrail_caller import word
from jackstop.events.sources.cloudtrail_shape import Additional, Answer, Asked, Record
from jackstop.events.sources.entry import kept

T = TypeVar("T")

TOKEN_LIMIT = "probe:token_limit"  # noqa: S105 -- a marker's name
"""The gate's marker for the same."""

_ASKED = msgspec.json.Decoder(Asked)
_ADDITIONAL = msgspec.json.Decoder(Additional)
_ANSWER = msgspec.json.Decoder(Answer)
_NOTHING = Asked()
_NOTHING_MORE = Additional()
_NO_ANSWER = Answer()
_ABSENT = frozenset({b"", b"null"})
_CONTENT_FIELDS = ("body", "form_data", "input", "input_text", "messages", "metadata", "prompt", "system")
_STATES = {"Active": "enabled", "Inactive": "disabled"}
_OWNED = frozenset({"access_key", "service_credential", "login_profile", "user"})


def mark(event: Event, name: str) -> None:
    """Add a marker, once."""
    if name not in event.markers:
        event.markers = f"{event.markers},{name}" if event.markers else name


def look_into(event: Event, record: Record) -> None:
    """Fill in what the parameters of a known act, or of any of Bedrock's, say."""
    raw = bytes(record.request_parameters)
    asked, dropped = _asked_again(raw) if len(raw) <= _SHORT else _asked(raw)
    if event.target_kind:
        event.target_id = _target(event, asked)
    if event.service in words.BEDROCK:
        _set_inference(event, record, asked)
        _count(event, dropped + (bytes(record.response_elements) not in _ABSENT))
    elif event.service == "signin":
        _set_login(event, record)
    elif event.service == "iam":
        _set_iam(event, asked)
    if event.action_class == "change_logging" and _narrows(asked):
        mark(event, "narrowed")


def _asked(raw: bytes) -> tuple[Asked, int]:
    """The parameters, and how many of them are content."""
    asked = _decoded(_ASKED, raw, _NOTHING)
    return asked, sum(bytes(getattr(asked, field)) not in _ABSENT for field in _CONTENT_FIELDS)


_asked_again = lru_cache(maxsize=4096)(_asked)
_SHORT = 512
"""Bytes of parameters that are worth remembering: models are asked for again and again."""


def _count(event: Event, dropped: int) -> None:
    if dropped:
        event.extra = f'{{"content_dropped": {dropped}}}'


def _decoded(decoder: msgspec.json.Decoder[T], raw: bytes, otherwise: T) -> T:
    """Part of a record, or `otherwise` where it is absent or of another form than is known."""
    if raw in _ABSENT:
        return otherwise
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return otherwise


def _target(event: Event, asked: Asked) -> str:
    """The name of what the act was about, from the first parameter that has one; of an ARN the last part."""
    for field in words.TARGETS.get(event.target_kind, ()):
        value = getattr(asked, field)
        if isinstance(value, list):
            value = ",".join(each for each in value if isinstance(each, str))
        if isinstance(value, str) and value:
            if event.target_kind == "object" and isinstance(asked.key, str):
                return kept(f"{value}/{asked.key}")
            return kept(_last_of(value))
    # Where IAM's calls name nobody, they are about who calls.
    if event.target_kind in _OWNED and event.principal_kind == "user":
        return event.principal.rpartition("/")[2]
    return ""


def _last_of(text: str) -> str:
    if not text.startswith("arn:"):
        return text
    resource = text.split(":", 5)[-1]
    return resource.rpartition("/")[2] if "/" in resource else resource.rpartition(":")[2]


def _set_iam(event: Event, asked: Asked) -> None:
    """Whose keys, rights or password: `owner` is the name of the user."""
    if event.action_class in {"key_admin", "people_admin"}:
        own = event.target_id if event.target_kind in _OWNED else ""
        event.owner = kept(asked.user_name) or own
    if asked.service_name == "bedrock.amazonaws.com":
        mark(event, "bedrock_key")
    if event.change == "updated" and isinstance(asked.status, str):
        event.change = _STATES.get(asked.status, event.change)


def _set_inference(event: Event, record: Record, asked: Asked) -> None:
    more = _decoded(_ADDITIONAL, bytes(record.additional_event_data), _NOTHING_MORE)
    named = (asked.model_id, asked.model_identifier, asked.model, asked.base_model_identifier)
    for value in (*named, asked.inference_profile_identifier):
        if isinstance(value, str) and value:
            event.model_asked, event.model = model_of(value)
            break
    if isinstance(more.inference_region, str):
        event.inference_region = word(more.inference_region)
    # Runtime records say it beside the parameters, those of `bedrock-mantle` among them.
    if _true(asked.call_with_bearer_token) or _true(more.call_with_bearer_token):
        event.key_kind = event.auth_method = "bearer"
    if isinstance(asked.stream, bool):
        event.stream = asked.stream
    elif event.action_class == "inference" and event.service != "bedrock-mantle":
        event.stream = "Stream" in event.action
    if type(asked.max_tokens) is int and abs(asked.max_tokens) < _INT64:
        event.max_output_asked = asked.max_tokens
        if asked.max_tokens <= 0:
            mark(event, TOKEN_LIMIT)
    if asked.service_tier is not None:
        event.service_tier = kept(asked.service_tier)


@lru_cache(maxsize=4096)
def model_of(text: str) -> tuple[str, str]:
    """A model's id as it was asked for, of an ARN the last part; and without the prefix of an inference profile.

    `arn:aws:bedrock:…:foundation-model/ID` and `…:inference-profile/us.ID`; ids have colons of their own.
    """
    asked = kept(text.rpartition("/")[2] if text.startswith("arn:") else text)
    prefix, _, rest = asked.partition(".")
    return asked, rest if prefix in _PROFILES and "." in rest else asked


_PROFILES = frozenset({"us", "us-gov", "eu", "apac", "jp", "au", "ca", "global"})
"""AWS CDK's CrossRegionInferenceProfileRegion (docs.aws.amazon.com/cdk/api/v2), read on 2026-11-23, and Canada's."""


_INT64 = 1 << 63


def _true(value: Any) -> bool:
    return value is True or value == "true"


def _set_login(event: Event, record: Record) -> None:
    more = _decoded(_ADDITIONAL, bytes(record.additional_event_data), _NOTHING_MORE)
    answer = _decoded(_ANSWER, bytes(record.response_elements), _NO_ANSWER)
    if answer.console_login == "Failure":
        event.outcome = "denied"
        mark(event, "failed_console")
    if more.mfa_used == "No":
        mark(event, "no_mfa")


def _narrows(asked: Asked) -> bool:
    """Whether what is asked for records less than all: of a trail, its selectors, or Bedrock's invocation log."""
    if asked.is_multi_region_trail is False or asked.include_global_service_events is False:
        return True
    config = asked.logging_config
    if isinstance(config, dict):
        placed = config.get("cloudWatchConfig") or config.get("s3Config")
        return not placed or config.get("textDataDeliveryEnabled") is False
    selectors = asked.event_selectors
    if not isinstance(selectors, list) or asked.advanced_event_selectors:
        return False
    return not any(isinstance(each, dict) and _is_whole(each) for each in selectors)


def _is_whole(selector: dict[str, Any]) -> bool:
    return selector.get("includeManagementEvents") is not False and selector.get("readWriteType") in {None, "All"}
