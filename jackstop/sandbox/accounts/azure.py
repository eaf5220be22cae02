"""Azure's keys of a Cognitive Services account: two slots, and Entra's tokens to turn them.

Shapes: Azure/azure-rest-api-specs cognitiveservices 2024-10-01 (Accounts_ListKeys, Accounts_RegenerateKey,
Accounts_Get, Accounts_Update); tokens: learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow.
"""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec

from jackstop.sandbox.accounts import mint
from jackstop.sandbox.accounts.api import Answer, Api, Call
from jackstop.sandbox.accounts.keys import Key, new_key
from jackstop.sandbox.accounts.state import Accounts
from jackstop.sandbox.errors import ProviderError
from jackstop.sandbox.exchange import Headers
from jackstop.sandbox.openai import bearer

SLOTS = ("Key1", "Key2")
_TOKEN_S = 3_599
_CODES = {400: "BadRequest", 401: "AuthenticationFailed", 404: "ResourceNotFound"}


class ResourceManager:
    """management.azure.com."""

    provider = "azure"

    def secret(self, headers: dict[bytes, bytes]) -> bytes:
        found = bearer(headers)
        if not found:
            raise ProviderError(401, "Authentication failed. The 'Authorization' header is missing.")
        return found

    def error(self, error: ProviderError, request_id: str) -> bytes:  # noqa: ARG002 the id is in a header only
        code = error.code or _CODES.get(error.status, "InternalServerError")
        return msgspec.json.encode({"error": {"code": code, "message": error.message}})

    def headers(self, request_id: str) -> Headers:
        return [(b"x-ms-request-id", request_id.encode()), (b"cache-control", b"no-cache")]


class Entra:
    """login.microsoftonline.com, whose callers say who they are in the body."""

    provider = "entra"

    def secret(self, headers: dict[bytes, bytes]) -> bytes:  # noqa: ARG002 it is not in the headers
        return b""

    def error(self, error: ProviderError, request_id: str) -> bytes:  # noqa: ARG002 the id is in a header only
        return msgspec.json.encode({"error": error.code or "invalid_request", "error_description": error.message})

    def headers(self, request_id: str) -> Headers:
        return [(b"x-ms-request-id", request_id.encode()), (b"cache-control", b"no-store, no-cache")]


def fill(accounts: Accounts, account: str, slot: str, secret: str) -> Key:
    """Put a secret into a slot. The one that was there ends."""
    provider = f"azure/{account}"
    old = accounts.keys.find(provider, slot)
    if old is not None:
        old.end("deleted", accounts.now_us)
    return accounts.keys.add(new_key(provider, slot, slot, secret, {"account": account}, accounts.now_us))


def _slots(accounts: Accounts, account: str) -> dict[str, Key]:
    """Both slots of an account, which comes into being when it is first named."""
    found = {}
    for slot in SLOTS:
        known = accounts.keys.find(f"azure/{account}", slot)
        found[slot] = known or fill(accounts, account, slot, mint.secret("azure"))
    return found


def _shown(accounts: Accounts, account: str) -> dict[str, object]:
    return {slot.lower(): key.secret.reveal().decode() for slot, key in _slots(accounts, account).items()}


def _check(call: Call) -> None:
    """Raises ProviderError for a token that Entra here did not give out, or a call without its API version."""
    token = bearer(call.exchange.header).decode("latin-1")
    if call.accounts.tokens.get(token, 0) <= call.now_us:
        raise ProviderError(401, "The access token is invalid or has expired.", code="InvalidAuthenticationToken")
    if not call.one("api-version"):
        raise ProviderError(
            400,
            "The api-version query parameter (?api-version=) is required for all requests.",
            code="MissingApiVersionParameter",
        )


def _list_keys(call: Call) -> object:
    return _shown(call.accounts, call.at["account"])


def _regenerate(call: Call) -> object:
    slot = call.json().get("keyName")
    if slot not in SLOTS:
        raise ProviderError(400, "The key name must be Key1 or Key2.", code="InvalidKeyName")
    account = call.at["account"]
    _slots(call.accounts, account)
    fill(call.accounts, account, slot, mint.secret("azure"))
    return _shown(call.accounts, account)


def _resource(call: Call) -> object:
    at = call.at
    group = f"/subscriptions/{at['subscription']}/resourceGroups/{at['group']}"
    closed = f"azure/{at['account']}" in call.accounts.closed
    return {
        "id": f"{group}/providers/Microsoft.CognitiveServices/accounts/{at['account']}",
        "name": at["account"],
        "type": "Microsoft.CognitiveServices/accounts",
        "kind": "OpenAI",
        "location": "swedencentral",
        "properties": {"provisioningState": "Succeeded", "disableLocalAuth": closed},
    }


def _update(call: Call) -> object:
    """PATCH of an account: `disableLocalAuth` closes it to both of its keys."""
    properties = call.json().get("properties", {})
    closed = properties.get("disableLocalAuth") if isinstance(properties, dict) else None
    if closed is True:
        call.accounts.closed.add(f"azure/{call.at['account']}")
    elif closed is False:
        call.accounts.closed.discard(f"azure/{call.at['account']}")
    return _resource(call)


def _token(call: Call) -> object:
    """A client's token by its secret. Any secret does, since Entra's applications are not practised."""
    form = parse_qs(call.exchange.body.decode("utf-8", "replace"))
    if form.get("grant_type") != ["client_credentials"]:
        raise ProviderError(400, "AADSTS70003: the grant type is not supported.", code="unsupported_grant_type")
    if not form.get("client_id") or not form.get("client_secret") or not form.get("scope"):
        raise ProviderError(401, "AADSTS7000215: Invalid client secret provided.", code="invalid_client")
    token = mint.token("eyJ0eXAiOiJKV1Qi.")
    call.accounts.tokens[token] = call.now_us + _TOKEN_S * 1_000_000
    return Answer({"token_type": "Bearer", "expires_in": _TOKEN_S, "ext_expires_in": _TOKEN_S, "access_token": token})


_ACCOUNT = (
    "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{account}"
)

ARM = Api(
    "/arm/",
    ResourceManager(),
    [
        ("GET", _ACCOUNT, _resource),
        ("PATCH", _ACCOUNT, _update),
        ("POST", f"{_ACCOUNT}/listKeys", _list_keys),
        ("POST", f"{_ACCOUNT}/regenerateKey", _regenerate),
    ],
    _check,
)
ENTRA = Api("/entra/", Entra(), [("POST", "{tenant}/oauth2/v2.0/token", _token)])
