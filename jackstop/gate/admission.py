"""Admit: may this key make this request, now, from here? Answers Admitted or Refused, never a bool; no sockets here.

In two steps: `open_request` looks at the head, so that a refused client's body is not read, and `admit` at the body.
Rules that a person set enforce unless the key is in mode observe, then the first that fails is recorded as
`would_refuse`. Authentication, the key's state and what cannot be forwarded at all always enforce.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import msgspec
from msgspec.structs import replace

from jackstop import providers
from jackstop.errors import ANYONE, Reason, Refused
from jackstop.gate.document import read_document
from jackstop.gate.meter.base import Ask
from jackstop.gate.refusals import UNAUTHORIZED, malformed
from jackstop.gate.registry import KeyEntry
from jackstop.gate.rules import Rules, compile_policy
from jackstop.gate.source import Source, within
from jackstop.gate.wire import Head
from jackstop.keys.hours import in_hours
from jackstop.keys.policy import CredentialRow
from jackstop.settings import Settings


class Snapshot(Protocol):
    """What admission asks of the registry."""

    def fresh(self, entry: KeyEntry, now_us: int) -> bool: ...

    def credential_for(self, provider: str, entry: KeyEntry) -> CredentialRow | None: ...


class Opening(msgspec.Struct, gc=False):
    """A request whose head is admitted."""

    entry: KeyEntry
    rules: Rules
    route: providers.Route
    credential: CredentialRow
    would_refuse: Reason | None = None


class Admitted(msgspec.Struct, gc=False):
    """A request that may go on. `would_refuse` is the first rule that would have refused it if it were enforced.

    `cap` is the output cap in tokens that holds, `write_cap` says that it has to be written into the body.
    """

    opening: Opening
    ask: Ask
    cap: int
    write_cap: bool
    would_refuse: Reason | None = None


NO_BODY = Ask(model="", has_output=False)
"""What a request without a body asks for."""


@dataclass(frozen=True, slots=True)
class AskRefused(Refused):
    """Why a body is refused for what it asks, which its event then says."""

    ask: Ask = NO_BODY


def open_request(
    head: Head, entry: KeyEntry, source: Source, now_us: int, snapshot: Snapshot, settings: Settings
) -> Opening | Refused:
    """Judge what the head alone shows."""
    refused = _key_state(entry, now_us, settings)
    if refused is not None:
        return refused
    if not snapshot.fresh(entry, now_us):
        return Refused("stale", "the gate has not heard from control for too long; try again shortly", retry_after_s=5)
    rules = _rules_of(entry, settings)
    failed = _network_or_hours(rules, source, now_us) if rules.networks or rules.hours else None
    if failed is not None and rules.enforces:
        return failed
    opening: Opening | Refused
    found: Opening | None = head.memo.get("opening")
    if found is not None and _still_holds(found, entry, snapshot):
        opening = found
    else:
        opening = _open(head, entry, rules, snapshot)
        # Whether a route without a body gets one depends on the length, which heads with the same memo do not share.
        if isinstance(opening, Opening) and opening.route.has_body:
            head.memo["opening"] = opening
    if failed is not None and isinstance(opening, Opening):
        return replace(opening, would_refuse=failed.reason)
    return opening


def _key_state(entry: KeyEntry, now_us: int, settings: Settings) -> Refused | None:
    """Refused where the key itself may not be used; a canary is answered as a key that nobody knows.

    Whoever holds a quarantined key may have stolen it: the answer names whom the installation says, and no owner.
    """
    row = entry.row
    if row.canary:
        return UNAUTHORIZED
    if row.state == "revoked":
        return Refused("revoked", "this key was revoked")
    if row.expires_us is not None and now_us >= row.expires_us:
        return Refused("expired", "this key has expired")
    if row.state == "quarantined":
        contact = settings.responses.contact or ANYONE
        return Refused("quarantined", f"this key is quarantined until someone releases it. Contact: {contact}")
    return None


def _rules_of(entry: KeyEntry, settings: Settings) -> Rules:
    """The key's compiled policy, compiled with its first request."""
    rules = entry.rules
    if rules is None:
        rules = entry.rules = compile_policy(entry.row.policy, settings.mode)
    return rules


def _network_or_hours(rules: Rules, source: Source, now_us: int) -> Refused | None:
    """Refused where the key may not be used from here, or now."""
    if rules.networks and not within(source.address, rules.networks):
        return Refused("network", "this key may not be used from this network")
    if rules.hours and not in_hours(rules.hours, now_us):
        return Refused("hours", "this key may not be used at this hour")
    return None


def _still_holds(opening: Opening, entry: KeyEntry, snapshot: Snapshot) -> bool:
    """Whether what was found for the same head before still holds: neither key nor credential has changed."""
    return opening.entry is entry and snapshot.credential_for(opening.route.provider, entry) is opening.credential


def _open(head: Head, entry: KeyEntry, rules: Rules, snapshot: Snapshot) -> Opening | Refused:
    """Judge what the head alone shows of where the request goes."""
    route = providers.route(head.method, head.path)
    if isinstance(route, Refused):
        return route
    failed = None
    if rules.providers is not None and route.provider not in rules.providers:
        failed = Refused("provider", f"this key may not use {route.provider}")
    elif rules.endpoints is not None and rules.endpoints.match(route.endpoint) is None:
        failed = Refused("endpoint", f"this key may not use the endpoint {route.endpoint}")
    if failed is not None and rules.enforces:
        return failed
    credential = snapshot.credential_for(route.provider, entry)
    if credential is None:
        return Refused("provider", f"no active credential for {route.provider} is there for this key")
    refused = _content_headers(head, route)
    if refused is not None:
        return refused
    return Opening(entry, rules, route, credential, None if failed is None else failed.reason)


def _content_headers(head: Head, route: providers.Route) -> Refused | None:
    """Refused unless a body comes just where one belongs, as JSON, uncompressed."""
    if not route.has_body:
        return malformed(f"a {head.method} request to this path has no body") if head.has_body else None
    if head.content_length is None and not head.chunked:
        return malformed("the request has no body; send its Content-Length", 411)
    if head.first.get(b"content-encoding", b"identity").lower() not in {b"identity", b""}:
        return malformed("compressed request bodies are not accepted; send the JSON as it is", 415)
    kind, _, rest = head.first.get(b"content-type", b"").partition(b";")
    if kind.strip().lower() != b"application/json":
        return malformed("the request's content type has to be application/json", 415)
    if b"charset" in rest.lower() and b"utf-8" not in rest.lower():
        return malformed("the request's JSON has to be UTF-8", 415)
    return None


def admit(opening: Opening, raw: bytes, settings: Settings) -> Admitted | Refused:
    """Judge the body. An empty body is right for a route without one."""
    route = opening.route
    if route.meter is None or not route.has_body:
        return Admitted(opening, NO_BODY, 0, write_cap=False, would_refuse=opening.would_refuse)
    document = read_document(raw)
    if isinstance(document, Refused):
        return document
    ask = route.meter.ask(document, len(raw))
    if isinstance(ask, Refused):
        return ask
    rules = opening.rules
    would_refuse = opening.would_refuse
    for failed, enforced in _body_rules(ask, rules):
        if enforced:
            return AskRefused(failed.reason, failed.message, ask=ask)
        would_refuse = would_refuse or failed.reason
    cap, write_cap = _output_cap(ask, rules, settings)
    return Admitted(opening, ask, cap, write_cap, would_refuse)


def _body_rules(ask: Ask, rules: Rules) -> list[tuple[Refused, bool]]:
    """The rules that the body fails, each with whether it is enforced."""
    failed: list[tuple[Refused, bool]] = []
    if ask.unmetered:
        failed.append((Refused("unmetered", f"no response reports what this costs: {ask.unmetered}"), True))
    if rules.models is not None and (not ask.model or rules.models.match(ask.model) is None):
        failed.append((Refused("model", "this key may not use this model"), rules.enforces))
    if ask.probe:
        failed.append((Refused("probe", "this request has the form of a key checker's"), rules.enforces_defaults))
    if ask.unbounded and not rules.policy.allow_unbounded:
        message = f"nothing in this request bounds what it can cost: {ask.unbounded}"
        failed.append((Refused("unbounded", message), rules.enforces))
    return failed


def _output_cap(ask: Ask, rules: Rules, settings: Settings) -> tuple[int, bool]:
    """The output cap in tokens that holds, and whether it has to be written into the body.

    The policy's ceiling lowers what the client asks for; a key in mode observe keeps what it asked for.
    """
    if not ask.has_output:
        return 0, False
    ceiling = rules.policy.max_output
    if ask.output_cap is None:
        return ceiling or settings.ledger.default_max_output, True
    if ceiling is not None and ask.output_cap > ceiling and rules.enforces:
        return ceiling, True
    return ask.output_cap, False
