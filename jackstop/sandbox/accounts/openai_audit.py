"""OpenAI's audit log: who did what to keys, accounts and people, newest first.

Shapes: `AuditLog` of OpenAI's OpenAPI document, 2026-08-21.
"""

from __future__ import annotations

import re

from jackstop.sandbox.accounts.api import Call, page_of
from jackstop.sandbox.accounts.audit import Actor, Entry
from jackstop.sandbox.errors import ProviderError

_S = 1_000_000
_BOUND = re.compile(r"effective_at\[(gt|gte|lt|lte)\]")
_PAGE = 20
_LONGEST_PAGE = 100


def _actor(actor: Actor) -> dict[str, object]:
    if actor.kind == "session":
        user = {"id": actor.id or "user-sandbox", "email": actor.email}
        return {"type": "session", "session": {"user": user, "ip_address": actor.ip, "user_agent": actor.user_agent}}
    user = {"id": "user-sandbox", "email": actor.email or "owner@example.com"}
    return {"type": "api_key", "api_key": {"id": actor.id, "type": "user", "user": user}}


def _shown(entry: Entry) -> dict[str, object]:
    detail = {**({"id": entry.resource} if entry.resource else {}), **entry.detail}
    shown: dict[str, object] = {
        "id": entry.id,
        "type": entry.kind,
        "effective_at": entry.ts_us // _S,
        "actor": _actor(entry.actor),
        entry.kind: detail,
    }
    if entry.project:
        shown["project"] = {"id": entry.project, "name": entry.project}
    return shown


def _within(call: Call, entry: Entry) -> bool:
    at = entry.ts_us // _S
    for name, values in call.query.items():
        found = _BOUND.fullmatch(name)
        if found is None:
            continue
        if not values[-1].isascii() or not values[-1].isdigit():
            raise ProviderError(400, f"Invalid '{name}': expected an integer.", param=name)
        bound = int(values[-1])
        if not {"gt": at > bound, "gte": at >= bound, "lt": at < bound, "lte": at <= bound}[found[1]]:
            return False
    return True


def _passes(call: Call, entry: Entry) -> bool:
    about = {
        "project_ids": entry.project,
        "event_types": entry.kind,
        "actor_ids": entry.actor.id,
        "actor_emails": entry.actor.email,
        "resource_ids": entry.resource,
    }
    return all(not call.many(name) or value in call.many(name) for name, value in about.items())


def audit_logs(call: Call) -> object:
    """GET /organization/audit_logs. Refused until an owner has switched the log on."""
    if not call.accounts.settings.audit:
        raise ProviderError(403, "Audit logging is not enabled for this organization.", code="audit_logs_not_enabled")
    mine = [e for e in call.accounts.audit.of("openai") if _within(call, e) and _passes(call, e)]
    limit = call.whole("limit", _PAGE, _LONGEST_PAGE)
    before = call.one("before")
    mine.reverse()
    if before:
        ids = [entry.id for entry in mine]
        mine = mine[: ids.index(before)] if before in ids else []
        mine, more = mine[-limit:], len(mine) > limit
    else:
        mine, more = page_of(mine, limit, call.one("after"))
    return {
        "object": "list",
        "data": [_shown(entry) for entry in mine],
        "first_id": mine[0].id if mine else None,
        "last_id": mine[-1].id if mine else None,
        "has_more": more,
    }
