"""Google's keys of service accounts, and the tokens that they are exchanged for.

Shapes: discovery document iam:v1, revision 20261023. Tokens:
developers.google.com/identity/protocols/oauth2/service-account.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any
from urllib.parse import parse_qs

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from jackstop.sandbox.accounts import mint
from jackstop.sandbox.accounts.api import Api, Call
from jackstop.sandbox.accounts.google import Google, check_token, moment
from jackstop.sandbox.accounts.keys import Key, new_key
from jackstop.sandbox.accounts.state import Accounts
from jackstop.sandbox.errors import ProviderError
from jackstop.sandbox.exchange import Headers

_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_MOST_KEYS = 10
_TOKEN_S = 3_599
_LONGEST_ASSERTION_S = 3_600
_FOREVER = "9999-12-31T23:59:59Z"


class GoogleTokens:
    """oauth2.googleapis.com, whose callers sign an assertion."""

    provider = "google_tokens"

    def secret(self, headers: dict[bytes, bytes]) -> bytes:  # noqa: ARG002 it never leaves the caller
        return b""

    def error(self, error: ProviderError, request_id: str) -> bytes:  # noqa: ARG002 the id is in a header only
        return msgspec.json.encode({"error": error.code or "invalid_request", "error_description": error.message})

    def headers(self, request_id: str) -> Headers:
        return [(b"x-request-id", request_id.encode()), (b"cache-control", b"no-cache, no-store, max-age=0")]


def issue(accounts: Accounts, place: dict[str, str], token_uri: str) -> tuple[Key, str]:
    """Make a key for a service account; its file as text, which nobody can ask for again."""
    account, project = place["service_account"], place["project"]
    private = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    key_id = mint.hexadecimal(40)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    file = {
        "type": "service_account",
        "project_id": project,
        "private_key_id": key_id,
        "private_key": pem,
        "client_email": account,
        "client_id": mint.number(21),
        "token_uri": token_uri,
        "universe_domain": "googleapis.com",
    }
    text = msgspec.json.format(msgspec.json.encode(file), indent=2).decode()
    key = new_key("google_sa", key_id, key_id, text, place, accounts.now_us)
    key.details["public"] = private.public_key()
    return accounts.keys.add(key), text


def _shown(key: Key) -> dict[str, object]:
    project, account = key.place["project"], key.place["service_account"]
    return {
        "name": f"projects/{project}/serviceAccounts/{account}/keys/{key.id}",
        "validAfterTime": moment(key.created_us),
        "validBeforeTime": _FOREVER,
        "keyAlgorithm": "KEY_ALG_RSA_2048",
        "keyOrigin": "GOOGLE_PROVIDED",
        "keyType": "USER_MANAGED",
        **({"disabled": True} if key.state == "disabled" else {}),
    }


def _mine(call: Call) -> list[Key]:
    account = call.at["account"]
    project = call.at["project"] if call.at["project"] != "-" else account.partition("@")[2].partition(".")[0]
    return call.accounts.keys.of("google_sa", project=project, service_account=account)


def _create(call: Call) -> object:
    mine, account = _mine(call), call.at["account"]
    if len(mine) >= _MOST_KEYS:
        raise ProviderError(400, "Precondition check failed.", code="FAILED_PRECONDITION")
    place = {"project": call.at["project"], "service_account": account}
    key, text = issue(call.accounts, place, token_uri(call))
    data = base64.b64encode(text.encode()).decode()
    return {**_shown(key), "privateKeyType": "TYPE_GOOGLE_CREDENTIALS_FILE", "privateKeyData": data}


def token_uri(call: Call) -> str:
    """Where the practice exchanges assertions, as its caller reaches it."""
    host = call.exchange.header.get(b"host", b"127.0.0.1").decode("latin-1")
    return f"{call.exchange.scheme}://{host}/google/token"


def _list(call: Call) -> object:
    kinds = call.many("keyTypes")
    return {"keys": [_shown(key) for key in _mine(call)]} if not kinds or "USER_MANAGED" in kinds else {}


def _key(call: Call) -> Key:
    for key in _mine(call):
        if key.id == call.at["key"]:
            return key
    raise ProviderError(404, f"Service account key {call.at['key']} does not exist.")


def _get(call: Call) -> object:
    return _shown(_key(call))


def _disable(call: Call) -> object:
    _key(call).end("disabled", call.now_us)
    return {}


def _enable(call: Call) -> object:
    _key(call).revive()
    return {}


def _delete(call: Call) -> object:
    _key(call).end("deleted", call.now_us)
    return {}


def _decoded(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise ProviderError(400, "Invalid JWT: its parts are no base64url.", code="invalid_grant") from None


def _claims(call: Call, assertion: str) -> tuple[dict[str, Any], Key]:
    """What an assertion says, and whose key signed it. Raises ProviderError where that key does not count."""
    parts = assertion.split(".")
    if len(parts) != 3:
        raise ProviderError(400, "Invalid JWT: it wants three parts.", code="invalid_grant")
    try:
        head, claims = msgspec.json.decode(_decoded(parts[0])), msgspec.json.decode(_decoded(parts[1]))
    except msgspec.DecodeError:
        head, claims = None, None
    if not isinstance(head, dict) or not isinstance(claims, dict):
        raise ProviderError(400, "Invalid JWT: it is no JSON.", code="invalid_grant")
    key = call.accounts.keys.find("google_sa", str(head.get("kid", "")))
    public = key.details.get("public") if key is not None else None
    linger_us = call.accounts.settings.key_linger_ms * 1_000
    if key is None or not isinstance(public, rsa.RSAPublicKey) or not key.answers(call.now_us, linger_us):
        raise ProviderError(400, "Invalid JWT Signature.", code="invalid_grant")
    try:
        signed = f"{parts[0]}.{parts[1]}".encode()
        public.verify(_decoded(parts[2]), signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise ProviderError(400, "Invalid JWT Signature.", code="invalid_grant") from None
    return claims, key


def _token(call: Call) -> object:
    form = parse_qs(call.exchange.body.decode("utf-8", "replace"))
    if form.get("grant_type") != [_GRANT]:
        raise ProviderError(400, "Invalid grant_type.", code="unsupported_grant_type")
    claims, key = _claims(call, form.get("assertion", [""])[-1])
    issued, until, now_s = claims.get("iat"), claims.get("exp"), call.now_us // 1_000_000
    if claims.get("iss") != key.place["service_account"] or not str(claims.get("aud", "")).endswith("/token"):
        raise ProviderError(400, "Invalid JWT: its issuer or audience is another.", code="invalid_grant")
    if not isinstance(issued, int) or not isinstance(until, int) or not now_s < until <= issued + _LONGEST_ASSERTION_S:
        raise ProviderError(400, "Invalid JWT: token must be a short-lived token (60 minutes).", code="invalid_grant")
    key.last_used_us = call.now_us
    token = mint.token("ya29.")
    call.accounts.tokens[token] = call.now_us + _TOKEN_S * 1_000_000
    return {"access_token": token, "expires_in": _TOKEN_S, "token_type": "Bearer"}


_KEYS = "projects/{project}/serviceAccounts/{account}/keys"

API = Api(
    "/google/v1/",
    Google(),
    [
        ("POST", _KEYS, _create),
        ("GET", _KEYS, _list),
        ("GET", f"{_KEYS}/{{key}}", _get),
        ("DELETE", f"{_KEYS}/{{key}}", _delete),
        ("POST", f"{_KEYS}/{{key}}:disable", _disable),
        ("POST", f"{_KEYS}/{{key}}:enable", _enable),
    ],
    check_token,
)
TOKENS = Api("/google/", GoogleTokens(), [("POST", "token", _token)])
