"""A look behind the practice providers' administration: keys seeded and listed, audit entries planted."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jackstop.sandbox.accounts import azure, google_sa, mint, openrouter
from jackstop.sandbox.accounts.audit import Actor
from jackstop.sandbox.accounts.keys import Key, new_key
from jackstop.sandbox.accounts.openai import seed_service_account
from jackstop.sandbox.accounts.state import Accounts
from jackstop.sandbox.errors import ProviderError

_ID_PREFIX = {"openai": "key_", "anthropic": "apikey_01", "bedrock": "ACCA"}
_DAY_US = 86_400_000_000
_DEFAULT_PLACE = {
    "openai": {"project": "proj_sandbox"},
    "anthropic": {"workspace": "wrkspc_sandbox"},
    "openrouter": {"workspace": "default"},
    "mistral": {"workspace": "default"},
    "xai": {"team": "team_sandbox"},
    "google": {"project": "sandbox"},
    "google_sa": {"project": "sandbox", "service_account": "gate@sandbox.iam.gserviceaccount.com"},
    "bedrock": {"user": "gate"},
}


def _shown(key: Key, now_us: int) -> dict[str, object]:
    """A key as the practice shows it, never with its secret."""
    return {
        "provider": key.provider.partition("/")[0],
        "id": key.id,
        "name": key.name,
        "state": key.state_at(now_us),
        "fingerprint": key.fingerprint,
        "place": key.place,
        "created_us": key.created_us,
        "expires_us": key.expires_us,
        "last_used_us": key.last_used_us,
    }


def _id_of(provider: str, secret: str) -> str:
    return openrouter.identify(secret) if provider == "openrouter" else mint.ident(_ID_PREFIX.get(provider, ""))


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.pop(name, "")
    if not isinstance(value, str):
        raise ProviderError(400, f"sandbox: {name} wants text")
    return value


def seed(accounts: Accounts, fields: dict[str, Any], root: str) -> dict[str, object]:
    """Take in a key that its provider is to know.

    What stands beside `provider secret id name expires_in_s` is its place. Without a secret one is made and given back;
    `root` is where its caller reaches the practice. Raises ProviderError when a field is wrong or the secret known.
    """
    fields = dict(fields)
    provider, secret, key_id, name = (_text(fields, part) for part in ("provider", "secret", "id", "name"))
    expires = fields.pop("expires_in_s", None)
    if not provider or (expires is not None and not isinstance(expires, int)):
        raise ProviderError(400, "sandbox: a key wants a provider, and expires_in_s as an integer")
    place = {**_DEFAULT_PLACE.get(provider, {}), **{part: _text(fields, part) for part in list(fields)}}
    made, now_us = not secret, accounts.now_us
    if provider == "azure":
        return _seed_slot(accounts, place, secret, key_id or place.pop("slot", "Key1"))
    if made and provider == "google_sa":
        key, secret = google_sa.issue(accounts, place, f"{root}google/token")
    else:
        secret = secret or mint.secret(provider)
        key_id = key_id or _id_of(provider, secret)
        expires_us = None if expires is None else now_us + expires * 1_000_000
        key = accounts.keys.add(
            new_key(provider, key_id, name or "seeded", secret, place, now_us - _DAY_US, expires_us)
        )
    if provider == "openai" and "service_account" in place:
        seed_service_account(accounts, place["project"], place["service_account"], place["service_account"])
    return {**_shown(key, now_us), **({"secret": secret} if made else {})}


def _seed_slot(accounts: Accounts, place: dict[str, str], secret: str, slot: str) -> dict[str, object]:
    """Put a secret into one of an Azure account's two slots."""
    account = place.get("account", "")
    if not account or slot not in azure.SLOTS:
        raise ProviderError(400, "sandbox: an Azure key wants an account, and Key1 or Key2 as id or slot")
    made = not secret
    secret = secret or mint.secret("azure")
    key = azure.fill(accounts, account, slot, secret)
    return {**_shown(key, accounts.now_us), **({"secret": secret} if made else {})}


def end(accounts: Accounts, provider: str, key_id: str) -> dict[str, object]:
    """Delete a key as a person does in a provider's console. Raises ProviderError when there is none."""
    key = accounts.keys.find(provider, key_id)
    if key is None:
        raise ProviderError(404, f"sandbox: {provider} has no key {key_id}")
    key.end("deleted", accounts.now_us)
    return _shown(key, accounts.now_us)


def plant(accounts: Accounts, fields: dict[str, Any]) -> None:
    """Write an audit entry as if it had happened: `provider kind`, and `actor ip resource project detail` at will.

    Raises ProviderError when a field is wrong.
    """
    provider, kind = _text(fields, "provider"), _text(fields, "kind")
    if provider not in ("openai", "anthropic") or not kind:
        raise ProviderError(400, "sandbox: an audit entry wants a provider (openai or anthropic) and a kind")
    email, detail = _text(fields, "actor"), fields.pop("detail", {})
    actor = Actor("session", _text(fields, "actor_id"), email, _text(fields, "ip"), _text(fields, "user_agent"))
    resource, project = _text(fields, "resource"), _text(fields, "project")
    if fields or not isinstance(detail, dict):
        raise ProviderError(400, "sandbox: an audit entry has no such field, or its detail is no object")
    accounts.audit.add(provider, kind, accounts.now_us, actor, resource=resource, project=project, detail=detail)


def routes(accounts: Accounts) -> list[Route]:
    """GET and POST /_sandbox/keys, DELETE /_sandbox/keys/{provider}/{id}, POST /_sandbox/audit."""

    def answer(value: object, status: int = 200) -> Response:
        return Response(msgspec.json.encode(value), status, media_type="application/json")

    async def read(request: Request) -> dict[str, Any]:
        try:
            fields = msgspec.json.decode(await request.body())
        except msgspec.DecodeError:
            fields = None
        if not isinstance(fields, dict):
            raise ProviderError(400, "sandbox: the body wants to be a JSON object")
        return fields

    async def listed(_: Request) -> Response:
        return answer([_shown(key, accounts.now_us) for key in accounts.keys])

    async def seeded(request: Request) -> Response:
        try:
            return answer(seed(accounts, await read(request), str(request.base_url)))
        except ProviderError as error:
            return answer({"error": error.message}, error.status)

    async def ended(request: Request) -> Response:
        try:
            return answer(end(accounts, request.path_params["provider"], request.path_params["key"]))
        except ProviderError as error:
            return answer({"error": error.message}, error.status)

    async def planted(request: Request) -> Response:
        try:
            plant(accounts, await read(request))
        except ProviderError as error:
            return answer({"error": error.message}, error.status)
        return answer({"planted": True})

    return [
        Route("/_sandbox/keys", listed),
        Route("/_sandbox/keys", seeded, methods=["POST"]),
        Route("/_sandbox/keys/{provider}/{key}", ended, methods=["DELETE"]),
        Route("/_sandbox/audit", planted, methods=["POST"]),
    ]
