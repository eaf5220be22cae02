"""The root address of a provider, as a credential's base URL gives it."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from jackstop.errors import UserError


def fold_base_url(url: str) -> str:
    """A provider's root, what stands before `/v1/…`, without a trailing slash or a trailing `/v1`.

    Raises UserError for anything but an https URL, or http to loopback, without user, query or fragment.
    """
    parts = _split(url.strip())
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise UserError(f"{url!r} is not an http(s) URL", "write it as https://api.example.com", 2)
    if parts.username is not None or parts.password is not None:
        raise UserError("the base URL holds a user name or password", "give the secret on standard input instead", 2)
    if parts.query or parts.fragment:
        raise UserError(f"{url!r} has a query or a fragment", "give only what stands before /v1", 2)
    if not url.isascii() or any(character.isspace() or ord(character) < 0x21 for character in url.strip()):
        raise UserError(f"{url!r} holds characters that no URL may hold", "write it as https://api.example.com", 2)
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise UserError(
            f"{url!r} would send the credential in clear over the network",
            "use https; plain http is allowed to loopback only",
            2,
        )
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return f"{parts.scheme}://{parts.netloc.lower()}{path}"


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        # Reading the port is what checks it.
        _ = parts.port
    except ValueError:
        raise UserError(f"{url!r} is not a URL", "write it as https://api.example.com", 2) from None
    return parts
