"""Record: one event per request, its columns filled as far as the request and its answer show them; no sockets here."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from jackstop import providers
from jackstop.errors import Refused
from jackstop.events.schema import Event
from jackstop.gate import traits
from jackstop.gate.admission import Opening
from jackstop.gate.identify import presented
from jackstop.gate.meter.base import Ask, Outcome
from jackstop.gate.registry import KeyEntry
from jackstop.gate.source import Source
from jackstop.gate.wire import Head
from jackstop.keys.format import masked

# How much is kept of what clients and providers write: of a model or id, a path, a code, a word.
NAME_CHARS = 128
_PATH_CHARS = 200
_CODE_CHARS = 64
_WORD_CHARS = 32
_REQUEST_IDS = (b"x-request-id", b"request-id", b"x-ds-trace-id", b"apim-request-id")
_AWS_REQUEST_ID = b"x-amzn-requestid"
"""The one that AWS's own logs have, whatever else a dialect answers with."""
_OUTCOMES = {
    400: "invalid",
    401: "denied",
    402: "denied",
    403: "denied",
    404: "not_found",
    422: "invalid",
    429: "throttled",
}
_REFUSED_OUTCOMES = {
    "malformed": "invalid",
    "too_large": "invalid",
    "rate": "throttled",
    "concurrency": "throttled",
    "lease": "throttled",
    "stale": "error",
    "journal": "error",
    "overload": "error",
    "upstream": "error",
}


def begin(head: Head, source: Source, entry: KeyEntry, opening: Opening | Refused, ts_us: int, gate_id: str) -> Event:
    """The event of a request whose head was judged and whose key is known."""
    if isinstance(opening, Refused):
        event = _with_trace(_of_head(head, entry, source, gate_id), providers.trace(head.method, head.path))
    else:
        made: tuple[Opening, Event] | None = head.memo.get("event")
        if made is None or made[0].entry is not entry or made[0].credential is not opening.credential:
            made = (opening, _with_opening(_of_head(head, entry, source, gate_id), opening))
            head.memo["event"] = made
        event = made[1]
    return replace(
        event,
        ts=ts_us,
        seen_ts=ts_us,
        src_ip=source.ip,
        src_net=source.net,
        src_raw=source.raw,
        src_trust=source.trust,
        network_kind=source.kind,
        request_bytes=head.size,
    )


def _of_head(head: Head, entry: KeyEntry, source: Source, gate_id: str) -> Event:
    """What head and key say, the same for each request with the same head."""
    markers = ["canary"] if entry.row.canary else []
    markers += traits.head_markers(head.first, own_edge=source.trust != "peer")
    first, row, found = head.first, entry.row, presented(head)
    agent = first.get(b"user-agent")
    user_agent = "" if agent is None else masked(agent.decode("latin-1"))[: traits.USER_AGENT_CHARS]
    return Event(
        gate_id=gate_id,
        action=f"{head.method} {masked(head.path)[:_PATH_CHARS]}",
        api_version=masked(first.get(b"anthropic-version", b"").decode("latin-1"))[:_WORD_CHARS],
        user_agent=user_agent,
        ua_state=traits.user_agent_state(agent),
        client=traits.client_family(user_agent, first.get(b"x-stainless-lang", b"").decode("latin-1")[:_WORD_CHARS]),
        http_fp=traits.header_order(head.names),
        referer_host=traits.referer_host(first.get(b"referer") or first.get(b"origin")),
        key_id=row.id,
        key_kind="canary" if row.canary else "virtual",
        owner=row.owner,
        team=row.team,
        auth_method="" if isinstance(found, Refused) else found.auth_method,
        markers=",".join(markers),
    )


def _with_opening(event: Event, opening: Opening) -> Event:
    """The same event, with where the request goes and with which credential."""
    route, credential = opening.route, opening.credential
    return replace(
        event,
        provider=route.provider,
        endpoint=route.endpoint,
        action_class=route.action_class,
        credential_id=credential.name,
        provider_key_id=credential.provider_key_id,
    )


def _with_trace(event: Event, trace: providers.Trace) -> Event:
    """The event of a request that goes nowhere, with what its path shows of what it wants."""
    event.provider, event.endpoint, event.action_class, probe = trace
    if probe:
        mark(event, f"probe:{probe}")
    return event


def add_ask(event: Event, ask: Ask, fingerprint_key: bytes) -> None:
    """What it asks for. Texts leave only fingerprints."""
    if not ask.model:
        return
    event.model_asked = masked(ask.model)[:NAME_CHARS]
    event.stream = ask.stream
    event.max_output_asked = ask.output_cap
    event.service_tier = ask.service_tier[:_WORD_CHARS]
    event.messages_n = ask.messages_n
    event.tools_n = ask.tools_n
    if ask.system_text:
        event.system_fp = traits.standing_fingerprint(fingerprint_key, ask.system_text)
    if ask.tools_text:
        event.tools_fp = traits.standing_fingerprint(fingerprint_key, ask.tools_text)
    if ask.end_user:
        event.end_user_fp = traits.exact_fingerprint(fingerprint_key, ask.end_user)
    event.conversation_fp = traits.fingerprint(fingerprint_key, ask.first_text)
    event.request_fp = traits.exact_fingerprint(
        fingerprint_key,
        f"{event.endpoint}|{ask.model}|{ask.output_cap}|{ask.messages_n}|"
        f"{event.system_fp}|{event.tools_fp}|{event.conversation_fp}",
    )
    if ask.probe:
        mark(event, f"probe:{ask.probe}")
    for marker in ask.markers:
        mark(event, marker)


def add_refusal(event: Event, refused: Refused, status: int) -> None:
    """The gate's own answer in the provider's place."""
    event.decision = "refused"
    event.reason = refused.reason
    event.status = status
    event.outcome = _REFUSED_OUTCOMES.get(refused.reason, "denied")
    if refused.marker:
        mark(event, refused.marker)


def add_status(event: Event, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    """The provider's answer, as far as its head shows it."""
    event.status = status
    event.outcome = _outcome_of(status)
    for name, value in headers:
        if name == _AWS_REQUEST_ID:
            event.request_id = value.decode("latin-1")[:NAME_CHARS]
            break
        if not event.request_id and name in _REQUEST_IDS:
            event.request_id = value.decode("latin-1")[:NAME_CHARS]


def _outcome_of(status: int) -> str:
    """The event's word for a provider's status."""
    return "ok" if status < 400 else _OUTCOMES.get(status, "error" if status >= 500 else "invalid")


def add_outcome(event: Event, outcome: Outcome) -> None:
    """What the response said of itself."""
    event.model = masked(outcome.model)[:NAME_CHARS]
    event.stop_reason = outcome.stop_reason[:_CODE_CHARS]
    event.request_id = event.request_id or outcome.request_id[:NAME_CHARS]
    if outcome.error_code:
        event.error_code = outcome.error_code[:_CODE_CHARS]
        if event.outcome == "ok":
            event.outcome = "error"
    usage = outcome.usage
    if usage is not None:
        event.input_tokens = usage.input_tokens
        event.cache_read_tokens = usage.cache_read_tokens
        event.cache_write_tokens = usage.cache_write_tokens + usage.cache_write_1h_tokens
        event.output_tokens = usage.output_tokens
        event.reasoning_tokens = usage.reasoning_tokens
        event.service_tier = usage.service_tier[:_WORD_CHARS] or event.service_tier


def mark(event: Event, marker: str) -> None:
    """Add one marker; markers are separated by commas."""
    event.markers = f"{event.markers},{marker}" if event.markers else marker


def overrun(event: Event, feature: str) -> None:
    """Mark an event whose cost is above its hold, and say what was bounded too low."""
    mark(event, "overrun")
    gap = {"provider": event.provider, "model": event.model_asked, "feature": feature}
    event.extra = msgspec.json.encode({"overrun": gap}).decode()
