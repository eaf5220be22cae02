"""Anthropic's Activity Feed: who did what in the organisation, newest first.

Shapes: platform.claude.com/docs/en/manage-claude/compliance-activity-feed, and /docs/en/api/compliance there, read
2026-11-23.
"""

from __future__ import annotations

from jackstop.sandbox.accounts.anthropic_usage import moment, read_moment
from jackstop.sandbox.accounts.api import Call, page_of
from jackstop.sandbox.accounts.audit import Actor, Entry
from jackstop.sandbox.errors import ProviderError

_ORGANISATION = "00000000-0000-4000-8000-000000000000"
_PAGE = 100
_LONGEST_PAGE = 5_000


def _actor(actor: Actor) -> dict[str, object]:
    where = {"ip_address": actor.ip, "user_agent": actor.user_agent}
    if actor.kind == "api_key":
        return {"type": "admin_api_key_actor", "admin_api_key_id": actor.id, **where}
    if not actor.id:
        return {"type": "unauthenticated_user_actor", "unauthenticated_email_address": actor.email, **where}
    return {"type": "user_actor", "email_address": actor.email, "user_id": actor.id, **where}


def _shown(entry: Entry) -> dict[str, object]:
    return {
        "id": entry.id,
        "created_at": moment(entry.ts_us),
        "organization_id": "org_sandbox",
        "organization_uuid": _ORGANISATION,
        "actor": _actor(entry.actor),
        "type": entry.kind,
        **entry.detail,
    }


def _passes(call: Call, entry: Entry) -> bool:
    kinds, actors = call.many("activity_types"), call.many("actor_ids")
    if (kinds and entry.kind not in kinds) or (actors and entry.actor.id not in actors):
        return False
    for name in ("gte", "gt", "lte", "lt"):
        text = call.one(f"created_at.{name}")
        if not text:
            continue
        bound, at = read_moment(text, f"created_at.{name}"), entry.ts_us
        if not {"gt": at > bound, "gte": at >= bound, "lt": at < bound, "lte": at <= bound}[name]:
            return False
    return True


def activities(call: Call) -> object:
    """GET /v1/compliance/activities. Refused until the Compliance API is switched on."""
    if not call.accounts.settings.audit:
        raise ProviderError(403, "The Compliance API is not enabled for this organization.")
    found = [entry for entry in reversed(call.accounts.audit.of("anthropic")) if _passes(call, entry)]
    limit, before = call.whole("limit", _PAGE, _LONGEST_PAGE), call.one("before_id")
    if before:
        ids = [entry.id for entry in found]
        newer = found[: ids.index(before)] if before in ids else []
        found, more = newer[-limit:], len(newer) > limit
    else:
        found, more = page_of(found, limit, call.one("after_id"))
    return {
        "data": [_shown(entry) for entry in found],
        "has_more": more,
        "first_id": found[0].id if found else None,
        "last_id": found[-1].id if found else None,
    }
