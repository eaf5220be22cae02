"""Google's access tokens for a service account's key, by a signed assertion (RFC 7523)."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from jackstop.clock import US_PER_S, SystemClock
from jackstop.providers.drivers.answers import shaped
from jackstop.providers.drivers.calls import exchange
from jackstop.providers.drivers.driver import Administration, CallFailed
from jackstop.secret import Secret

_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LIFE_S = 3_600
_REFUSED = frozenset({"invalid_grant", "invalid_client", "unauthorized_client"})
"""What the token endpoint says of a key that is deleted, disabled or wrong (RFC 6749, section 5.2)."""


class _Account(msgspec.Struct):
    """The Google credentials file, as IAM makes it (`TYPE_GOOGLE_CREDENTIALS_FILE`)."""

    client_email: str
    private_key: str
    private_key_id: str
    token_uri: str


class _Token(msgspec.Struct):
    access_token: str


class _Error(msgspec.Struct):
    error: str = ""


def bearer(admin: Administration) -> dict[str, str]:
    """The header of a call as the administration's service account. Raises CallFailed."""
    return {"Authorization": f"Bearer {token(admin.secret, admin.ca)}"}


def token(secret: Secret, ca: str = "") -> str:
    """An access token for a service account's key. Raises CallFailed, `denied` where Google refuses the key."""
    account = _read(secret)
    form = {"grant_type": _GRANT, "assertion": _assertion(account)}
    status, said, _ = exchange("POST", account.token_uri, {}, form=form, ca=ca)
    try:
        answer = msgspec.json.decode(said)
    except msgspec.DecodeError:
        answer = {}
    if 200 <= status < 300:
        return shaped(answer, _Token, "the token").access_token
    error = shaped(answer, _Error, "the token").error
    if status == 401 or error in _REFUSED:
        raise CallFailed("denied", f"Google gives no token for the service account's key: HTTP {status}")
    raise CallFailed("limited" if status == 429 else "failed", f"the token was answered with HTTP {status}")


def _read(secret: Secret) -> _Account:
    """The credentials file, as JSON or, as IAM gives it, in base64."""
    text = secret.reveal().strip()
    try:
        return msgspec.json.decode(text if text.startswith(b"{") else base64.b64decode(text), type=_Account)
    except (msgspec.DecodeError, binascii.Error, UnicodeDecodeError):
        raise CallFailed("invalid", "the secret is not a service account's key file, as JSON or in base64") from None


def _assertion(account: _Account) -> str:
    try:
        key = load_pem_private_key(account.private_key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CallFailed("invalid", "the service account's key file holds no private key") from None
    if not isinstance(key, RSAPrivateKey):
        raise CallFailed("invalid", "the service account's private key is not of RSA")
    now_s = SystemClock().now_us() // US_PER_S
    claims = {
        "iss": account.client_email,
        "scope": _SCOPE,
        "aud": account.token_uri,
        "iat": now_s,
        "exp": now_s + _LIFE_S,
    }
    signed = _part({"alg": "RS256", "typ": "JWT", "kid": account.private_key_id}) + b"." + _part(claims)
    return (signed + b"." + _url_safe(key.sign(signed, PKCS1v15(), SHA256()))).decode()


def _part(value: dict[str, Any]) -> bytes:
    return _url_safe(msgspec.json.encode(value))


def _url_safe(value: bytes) -> bytes:
    return base64.urlsafe_b64encode(value).rstrip(b"=")
