"""xAI's management of keys: made and listed by team, changed and deleted by id.

Shapes: docs.x.ai/developers/rest-api-reference/management/auth, read 2026-11-23. Quirk: a key made without ACLs may do
nothing.
"""

from __future__ import annotations

from typing import Any

from jackstop.clock import to_datetime
from jackstop.sandbox.accounts import mint
from jackstop.sandbox.accounts.api import Api, Call, page_of, text
from jackstop.sandbox.accounts.keys import Key, new_key
from jackstop.sandbox.accounts.shaped import Shaped
from jackstop.sandbox.errors import ProviderError

_PAGE = 100


def _moment(ts_us: int) -> str:
    return to_datetime(ts_us).isoformat().replace("+00:00", "Z")


def _shown(key: Key) -> dict[str, object]:
    return {
        "apiKeyId": key.id,
        "redactedApiKey": "...".join(key.hint(4, 4)),
        "name": key.name,
        "userId": "user_sandbox",
        "teamId": key.place["team"],
        "createTime": _moment(key.created_us),
        "modifyTime": _moment(key.ended_us or key.created_us),
        "expireTime": None if key.expires_us is None else _moment(key.expires_us),
        "disabled": key.state == "disabled",
        "apiKeyBlocked": False,
        "teamBlocked": False,
        "aclStrings": key.scopes or [],
    }


def _acls(body: dict[str, Any]) -> list[str]:
    acls = body.get("acls", [])
    if not isinstance(acls, list) or not all(isinstance(acl, str) for acl in acls):
        raise ProviderError(400, "acls wants a list of strings")
    return acls


def _create(call: Call) -> object:
    body = call.json()
    secret, place = mint.secret("xai"), {"team": call.at["team"]}
    key = new_key("xai", mint.guid(), text(body, "name"), secret, place, call.now_us)
    key.scopes = _acls(body)
    call.accounts.keys.add(key)
    return {**_shown(key), "apiKey": secret}


def _list(call: Call) -> object:
    keys = call.accounts.keys.of("xai", team=call.at["team"])
    found, more = page_of(keys, call.whole("pageSize", _PAGE, _PAGE), call.one("paginationToken"))
    return {"apiKeys": [_shown(key) for key in found], "paginationToken": found[-1].id if more else ""}


def _key(call: Call) -> Key:
    found = call.accounts.keys.find("xai", call.at["key"])
    if found is None or found.state == "deleted":
        raise ProviderError(404, "API key not found", code="not_found")
    return found


def _update(call: Call) -> object:
    """PUT with the changed key and a `fieldMask` that names what of it counts."""
    body, key = call.json(), _key(call)
    changed, mask = body.get("apiKey"), body.get("fieldMask")
    if not isinstance(changed, dict) or not isinstance(mask, str) or not mask:
        raise ProviderError(400, "apiKey and fieldMask are required")
    for field in mask.split(","):
        if field == "name":
            key.name = text(changed, "name")
        elif field == "disabled" and changed.get("disabled") is True:
            key.end("disabled", call.now_us)
        elif field == "disabled":
            key.revive()
        elif field in ("acls", "aclStrings"):
            key.scopes = _acls({"acls": changed.get(field, [])})
        elif field not in ("qps", "qpm", "tpm"):
            raise ProviderError(400, f"fieldMask: {field} cannot be changed")
    return _shown(key)


def _delete(call: Call) -> object:
    _key(call).end("deleted", call.now_us)
    return {}


API = Api(
    "/xai/auth/",
    Shaped("xai_management"),
    [
        ("POST", "teams/{team}/api-keys", _create),
        ("GET", "teams/{team}/api-keys", _list),
        ("PUT", "api-keys/{key}", _update),
        ("DELETE", "api-keys/{key}", _delete),
    ],
)
