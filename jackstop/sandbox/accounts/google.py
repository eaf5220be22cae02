"""Google's administration API keys, whose making and deleting are operations that take a while.

Shapes: discovery document apikeys:v2, revision 20260818.
"""

from __future__ import annotations

from typing import Any

import msgspec

from jackstop.clock import to_datetime
from jackstop.sandbox.accounts import mint
from jackstop.sandbox.accounts.api import Api, Call, page_of
from jackstop.sandbox.accounts.keys import Key, new_key
from jackstop.sandbox.errors import ProviderError
from jackstop.sandbox.exchange import Headers
from jackstop.sandbox.openai import bearer

_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
_KEY_TYPE = "type.googleapis.com/google.api.apikeys.v2.Key"
_KEPT = ("annotations", "serviceAccountEmail")
_PAGE = 50
_LONGEST_PAGE = 300


class Google:
    """googleapis.com for callers with an access token."""

    provider = "google"

    def secret(self, headers: dict[bytes, bytes]) -> bytes:
        found = bearer(headers)
        if not found:
            raise ProviderError(401, "Request is missing required authentication credential.")
        return found

    def error(self, error: ProviderError, request_id: str) -> bytes:  # noqa: ARG002 the id is in a header only
        status = error.code or _STATUS.get(error.status, "INTERNAL")
        return msgspec.json.encode({"error": {"code": error.status, "message": error.message, "status": status}})

    def headers(self, request_id: str) -> Headers:
        return [(b"x-request-id", request_id.encode()), (b"server", b"ESF")]


def check_token(call: Call) -> None:
    """Raises ProviderError for a token that the practice did not give out, or that has expired."""
    token = bearer(call.exchange.header).decode("latin-1")
    if call.accounts.tokens.get(token, 0) <= call.now_us:
        raise ProviderError(401, "Request had invalid authentication credentials.")


def moment(ts_us: int) -> str:
    """A time as Google writes it."""
    return to_datetime(ts_us).isoformat().replace("+00:00", "Z")


def _shown(key: Key) -> dict[str, object]:
    shown: dict[str, object] = {
        "name": f"projects/{key.place['project']}/locations/global/keys/{key.id}",
        "uid": key.id,
        "displayName": key.name,
        "createTime": moment(key.created_us),
        "updateTime": moment(key.created_us),
        "restrictions": key.details.get("restrictions", {}),
        **{name: key.details[name] for name in _KEPT if name in key.details},
        "etag": f'W/"{key.fingerprint}"',
    }
    if key.state == "deleted" and key.ended_us is not None:
        shown["deleteTime"] = moment(key.ended_us)
    return shown


def _operation(call: Call, key: Key) -> dict[str, object]:
    """An operation that will be done in a while; its answer is the key."""
    name = f"operations/akmf.p7-{mint.number(12)}-{mint.guid()}"
    call.accounts.operations[name] = (call.now_us + call.accounts.settings.operation_ms * 1_000, _shown(key))
    return {"name": name}


def _get_operation(call: Call) -> object:
    name = f"operations/{call.at['operation']}"
    if name not in call.accounts.operations:
        raise ProviderError(404, "Requested entity was not found.")
    ready_us, response = call.accounts.operations[name]
    if call.now_us < ready_us:
        return {"name": name}
    return {"name": name, "done": True, "response": {"@type": _KEY_TYPE, **response}}


def _key(call: Call, *, deleted: bool = False) -> Key:
    found = call.accounts.keys.find("google", call.at["key"])
    if found is None or found.place["project"] != call.at["project"] or (found.state == "deleted" and not deleted):
        raise ProviderError(404, "Requested entity was not found.")
    return found


def _restrictions(body: dict[str, Any]) -> dict[str, object]:
    found = body.get("restrictions", {})
    if not isinstance(found, dict):
        raise ProviderError(400, "Invalid value at 'key.restrictions'.")
    return found


def _create(call: Call) -> object:
    body, project = call.json(), call.at["project"]
    key_id = call.one("keyId") or mint.guid()
    if call.accounts.keys.find("google", key_id) is not None:
        raise ProviderError(409, "Requested entity already exists.", code="ALREADY_EXISTS")
    name = body.get("displayName")
    secret = mint.secret("google")
    key = new_key("google", key_id, name if isinstance(name, str) else "", secret, {"project": project}, call.now_us)
    key.details |= {"restrictions": _restrictions(body), **{name: body[name] for name in _KEPT if name in body}}
    return _operation(call, call.accounts.keys.add(key))


def _list(call: Call) -> object:
    keys = [
        key for key in call.accounts.keys if (key.provider, key.place.get("project")) == ("google", call.at["project"])
    ]
    if call.one("showDeleted") != "true":
        keys = [key for key in keys if key.state != "deleted"]
    found, more = page_of(keys, call.whole("pageSize", _PAGE, _LONGEST_PAGE, 0) or _PAGE, call.one("pageToken"))
    return {"keys": [_shown(key) for key in found], **({"nextPageToken": found[-1].id} if more else {})}


def _get(call: Call) -> object:
    return _shown(_key(call, deleted=True))


def _key_string(call: Call) -> object:
    return {"keyString": _key(call).secret.reveal().decode()}


def _patch(call: Call) -> object:
    body, key = call.json(), _key(call)
    for field in call.many("updateMask") or ["displayName", "restrictions"]:
        if field in ("displayName", "display_name") and isinstance(body.get("displayName"), str):
            key.name = body["displayName"]
        elif field == "restrictions":
            key.details["restrictions"] = _restrictions(body)
    return _operation(call, key)


def _delete(call: Call) -> object:
    key = _key(call)
    if call.one("etag") not in ("", f'W/"{key.fingerprint}"'):
        raise ProviderError(409, "The etag does not match.", code="ABORTED")
    key.end("deleted", call.now_us)
    return _operation(call, key)


def _undelete(call: Call) -> object:
    key = _key(call, deleted=True)
    key.revive()
    return _operation(call, key)


_KEYS = "projects/{project}/locations/global/keys"

API = Api(
    "/google/v2/",
    Google(),
    [
        ("POST", _KEYS, _create),
        ("GET", _KEYS, _list),
        ("GET", f"{_KEYS}/{{key}}", _get),
        ("GET", f"{_KEYS}/{{key}}/keyString", _key_string),
        ("PATCH", f"{_KEYS}/{{key}}", _patch),
        ("DELETE", f"{_KEYS}/{{key}}", _delete),
        ("POST", f"{_KEYS}/{{key}}:undelete", _undelete),
        ("GET", "operations/{operation}", _get_operation),
    ],
    check_token,
)
