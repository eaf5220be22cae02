"""TLS towards clients and towards providers, from the files that the settings name; the parent checks them, too."""

from __future__ import annotations

import ssl

from jackstop.errors import UserError
from jackstop.settings import GateSettings


def server_tls(settings: GateSettings) -> ssl.SSLContext | None:
    """TLS towards clients, None where it ends elsewhere. Raises UserError when the files cannot be used."""
    if not settings.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password=_no_password)
    except (OSError, ssl.SSLError):
        raise UserError(
            f"{settings.tls_cert} and {settings.tls_key} are no certificate and its key",
            "check gate.tls_cert and gate.tls_key",
            2,
        ) from None
    return context


def _no_password() -> str:
    """OpenSSL would ask the terminal for the password of an encrypted key, and wait."""
    return ""


def tls_context(settings: GateSettings) -> ssl.SSLContext:
    """The machine's own trust, or `upstream_ca` instead of it. Raises UserError when that file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=settings.upstream_ca or None)
    except (OSError, ssl.SSLError):
        raise UserError(f"{settings.upstream_ca} is not a file of certificates", "check gate.upstream_ca", 2) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
