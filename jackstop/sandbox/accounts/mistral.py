"""Mistral's Admin API for keys: list and create, with an expiry by day. No path to delete a key is documented.

Shapes: docs.mistral.ai/api/endpoint/beta/admin/api-keys; the key goes into `x-api-key`
(docs.mistral.ai/admin/admin-api/authentication), or as a bearer as the reference shows. Read 2026-11-23.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

from jackstop.clock import from_datetime, to_datetime
from jackstop.sandbox.accounts import mint
from jackstop.sandbox.accounts.api import Api, Call, text
from jackstop.sandbox.accounts.keys import Key, new_key
from jackstop.sandbox.accounts.shaped import Shaped
from jackstop.sandbox.errors import ProviderError
from jackstop.sandbox.openai import bearer

_MOST = 1_000


class MistralAdministration(Shaped):
    """console.mistral.ai/api/admin."""

    def secret(self, headers: dict[bytes, bytes]) -> bytes:
        found = headers.get(b"x-api-key", b"").strip() or bearer(headers)
        if not found:
            raise ProviderError(401, "Unauthorized")
        return found


def _shown(key: Key, *, value: str | None = None) -> dict[str, object]:
    return {
        "key_id": key.id,
        "name": key.name or None,
        "hidden_key": "*" * 28 + key.hint(0, 4)[1],
        "key": value,
        "product": "API",
        "workspace_id": key.place["workspace"],
        "workspace_name": None,
        "created_at": to_datetime(key.created_us).isoformat(),
        "created_by": None,
        "expiration_date": None if key.expires_us is None else to_datetime(key.expires_us).date().isoformat(),
        "last_used": None if key.last_used_us is None else to_datetime(key.last_used_us).isoformat(),
        "can_delete": None,
        "actions": {},
    }


def _expires(body: dict[str, Any]) -> int | None:
    """The end of the day named; Mistral's expiry is a date."""
    value = body.get("expiration")
    if value is None:
        return None
    try:
        day = date.fromisoformat(str(value)[:10])
    except ValueError:
        raise ProviderError(422, "expiration: Input should be a valid date") from None
    return from_datetime(datetime.combine(day, time.max, UTC))


def _create(call: Call) -> object:
    body = call.json()
    place, secret = {"workspace": text(body, "workspace_uuid")}, mint.secret("mistral")
    name = text(body, "name", required=False)
    key = new_key("mistral", mint.guid(), name, secret, place, call.now_us, _expires(body))
    call.accounts.keys.add(key)
    return _shown(key, value=secret)


def _list(call: Call) -> object:
    keys = call.accounts.keys.of("mistral")
    start = call.whole("offset", 0, 1_000_000, 0)
    return {"keys": [_shown(key) for key in keys[start : start + call.whole("limit", _MOST, _MOST)]]}


API = Api(
    "/mistral/api/admin/",
    MistralAdministration("mistral_administration"),
    [("POST", "api-keys", _create), ("GET", "api-keys", _list)],
)
