"""OpenRouter's keys, with limits on the key itself, and its activity by day.

Shapes: openrouter 1.3.84 (`operations/createkeys.py`, `list.py`, `updatekeys.py`, `getcurrentkey.py`,
`components/activityitem.py`). Quirks: `list` leaves disabled and expired keys out unless asked; activity knows
completed days only.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from jackstop.clock import from_datetime, to_datetime
from jackstop.sandbox.accounts import mint
from jackstop.sandbox.accounts.api import Answer, Api, Call, text
from jackstop.sandbox.accounts.keys import Key, new_key
from jackstop.sandbox.accounts.shaped import OpenRouter
from jackstop.sandbox.accounts.spend import NUSD_PER_USD
from jackstop.sandbox.bill import Use
from jackstop.sandbox.catalogue import UNITS_PER_NUSD
from jackstop.sandbox.errors import ProviderError

_PAGE = 100
_DAY_US = 86_400_000_000
_DAYS = 30
_RESETS = (None, "daily", "weekly", "monthly")


def _managing(call: Call) -> None:
    """Raises ProviderError for an inference key, which may only look at itself."""
    alone = call.exchange.practice.accounts.keys.known("openrouter", call.exchange.credential)
    if alone is not None:
        raise ProviderError(401, "Only management keys can perform this operation.")


def _iso(ts_us: int | None) -> str | None:
    return None if ts_us is None else to_datetime(ts_us).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _usd(nusd: int) -> float:
    return nusd / NUSD_PER_USD


def _spent(call: Call, key: Key) -> dict[str, object]:
    """Use in dollars, in all and within the running windows, and what is left of the key's limit."""
    of_key = call.accounts.spend.of_key
    windows = ("daily", "weekly", "monthly")
    spent = {window: _usd(of_key(key, window, call.now_us)) for window in windows}
    whole = _usd(of_key(key, "total", call.now_us))
    limit, reset = key.details.get("limit_usd"), key.details.get("limit_reset")
    counted = spent.get(str(reset), whole)
    return {
        "usage": whole,
        **{f"usage_{window}": spent[window] for window in windows},
        "byok_usage": 0,
        **{f"byok_usage_{window}": 0 for window in windows},
        "include_byok_in_limit": False,
        "limit": limit,
        "limit_remaining": max(0.0, limit - counted) if isinstance(limit, int | float) else None,
        "limit_reset": reset,
    }


def _label(key: Key) -> str:
    return "...".join(key.hint(12, 3))


def _shown(call: Call, key: Key) -> dict[str, object]:
    return {
        "hash": key.id,
        "name": key.name,
        "label": _label(key),
        "disabled": key.state == "disabled",
        "created_at": _iso(key.created_us),
        "updated_at": None,
        "expires_at": _iso(key.expires_us),
        "last_used_at": _iso(key.last_used_us),
        "creator_user_id": "user_sandbox",
        "external_user": None,
        "workspace_id": key.place["workspace"],
        **_spent(call, key),
    }


def _limit(body: dict[str, Any], key: Key) -> None:
    limit, reset = body.get("limit"), body.get("limit_reset", key.details.get("limit_reset"))
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or limit < 0):
        raise ProviderError(400, "limit: expected a non-negative number")
    if reset not in _RESETS:
        raise ProviderError(400, "limit_reset: expected daily, weekly, monthly or null")
    if "limit" in body:
        key.details["limit_usd"] = limit
    key.details["limit_reset"] = reset


def _expires(body: dict[str, Any], now_us: int) -> int | None:
    value = body.get("expires_at")
    if value is None:
        return None
    try:
        moment = from_datetime(datetime.fromisoformat(value))
    except (TypeError, ValueError):
        raise ProviderError(400, "expires_at: expected an ISO 8601 timestamp in UTC") from None
    if moment <= now_us:
        raise ProviderError(400, "expires_at: must be in the future")
    return moment


def identify(secret: str) -> str:
    """A key's id: the SHA-256 of its secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _create(call: Call) -> object:
    body = call.json()
    name, expires_us = text(body, "name"), _expires(body, call.now_us)
    secret = mint.secret("openrouter")
    place = {"workspace": text(body, "workspace_id", required=False) or "default"}
    key = new_key("openrouter", identify(secret), name, secret, place, call.now_us, expires_us)
    _limit(body, key)
    call.accounts.keys.add(key)
    return Answer({"key": secret, "data": _shown(call, key)}, 201)


def _list(call: Call) -> object:
    workspace = call.one("workspace_id", "default")
    hidden = {"disabled"} if call.one("include_disabled") != "true" else set()
    if call.one("include_expired") != "true":
        hidden.add("expired")
    keys = call.accounts.keys.of("openrouter", workspace=workspace)
    shown = [key for key in keys if key.state_at(call.now_us) not in hidden]
    start = call.whole("offset", 0, 1_000_000, 0)
    return {"data": [_shown(call, key) for key in shown[start : start + _PAGE]]}


def _key(call: Call) -> Key:
    found = call.accounts.keys.find("openrouter", call.at["hash"])
    if found is None or found.state == "deleted":
        raise ProviderError(404, "API key not found")
    return found


def _get(call: Call) -> object:
    return {"data": _shown(call, _key(call))}


def _update(call: Call) -> object:
    body, key = call.json(), _key(call)
    key.name = text(body, "name", required=False) or key.name
    _limit(body, key)
    if body.get("disabled") is True:
        key.end("disabled", call.now_us)
    elif body.get("disabled") is False:
        key.revive()
    return {"data": _shown(call, key)}


def _delete(call: Call) -> object:
    _key(call).end("deleted", call.now_us)
    return {"deleted": True}


def _current(call: Call) -> object:
    """GET /key, which any key may ask about itself."""
    key = call.accounts.keys.known("openrouter", call.exchange.credential)
    if key is not None and not key.answers(call.now_us, call.accounts.settings.key_linger_ms * 1_000):
        raise ProviderError(401, "User not found.")
    unlimited = {
        "usage": 0,
        "limit": None,
        "limit_remaining": None,
        "limit_reset": None,
        "include_byok_in_limit": False,
    }
    windows = {f"{kind}_{window}": 0 for kind in ("usage", "byok_usage") for window in ("daily", "weekly", "monthly")}
    return {
        "data": {
            "label": "management" if key is None else _label(key),
            "is_free_tier": False,
            "is_management_key": key is None,
            "is_provisioning_key": key is None,
            "allowed_data_regions": ["global"],
            "budgets": [],
            "effective_budget": None,
            "free_model_daily_requests": {"limit": 1_000, "remaining": 1_000, "used": 0},
            "creator_user_id": "user_sandbox",
            "organization_id": None,
            "workspace_id": "default" if key is None else key.place["workspace"],
            "rate_limit": {"interval": "10s", "note": "This field is deprecated and safe to ignore.", "requests": -1},
            **({**unlimited, **windows, "byok_usage": 0} if key is None else _spent(call, key)),
        }
    }


def _activity(call: Call) -> object:
    """GET /activity: the last 30 completed days in UTC, by model."""
    today = call.now_us - call.now_us % _DAY_US
    wanted, hashed = call.one("date"), call.one("api_key_hash")
    rows: dict[tuple[str, str], Use] = {}
    for use in call.accounts.bill.uses(today - _DAYS * _DAY_US, today):
        key = call.accounts.keys.known("openrouter", use.credential)
        day = to_datetime(use.minute_us).date().isoformat()
        if use.provider != "openrouter" or wanted not in ("", day) or (hashed and (key is None or key.id != hashed)):
            continue
        row = rows.setdefault((day, use.model), Use(use.minute_us, use.provider, "", "", use.model, ""))
        for name in ("requests", "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "units"):
            setattr(row, name, getattr(row, name) + getattr(use, name))
    return {"data": [_item(day, row) for (day, _), row in sorted(rows.items(), reverse=True)]}


def _item(day: str, use: Use) -> dict[str, object]:
    return {
        "date": day,
        "model": use.model,
        "model_permaslug": use.model,
        "endpoint_id": "sandbox",
        "provider_name": "OpenAI",
        "usage": _usd(use.units // UNITS_PER_NUSD),
        "byok_usage_inference": 0,
        "requests": use.requests,
        "prompt_tokens": use.input_tokens + use.cached_tokens + use.cache_write_tokens,
        "cached_tokens": use.cached_tokens,
        "completion_tokens": use.output_tokens,
        "reasoning_tokens": 0,
    }


API = Api(
    "/openrouter/api/v1/",
    OpenRouter("openrouter_management"),
    [
        ("POST", "keys", _create),
        ("GET", "keys", _list),
        ("GET", "keys/{hash}", _get),
        ("PATCH", "keys/{hash}", _update),
        ("DELETE", "keys/{hash}", _delete),
        ("GET", "activity", _activity),
    ],
    _managing,
)
SELF = Api("/openrouter/api/v1/", OpenRouter("openrouter_management"), [("GET", "key", _current)])
