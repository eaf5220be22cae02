"""Where the console is: the address that people's browsers know it by, and which ones are allowed."""

from __future__ import annotations

from urllib.parse import urlsplit

from jackstop.errors import UserError
from jackstop.gate.listening import is_loopback, split_address
from jackstop.settings import Settings


def url_of(settings: Settings) -> str:
    """What people's browsers know the console as, without a slash at the end."""
    if settings.console_url:
        return settings.console_url.rstrip("/")
    host, port = split_address(settings.console)
    shown = "localhost" if is_loopback(host) else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def check_console(settings: Settings) -> None:
    """Raise UserError where nobody could open a link, or what people answer would cross a network in clear."""
    if not _is_address(url_of(settings)):
        raise UserError(
            f"console_url is no address of a page: {settings.console_url}",
            "write it as https://jackstop.example.com",
            2,
        )
    host, _ = split_address(settings.console)
    if not is_loopback(host) and not settings.console_url.startswith("https://"):
        raise UserError(
            f"{settings.console} can be reached from other machines, and the console's pages would travel in clear",
            "let a proxy that ends TLS stand before it, and set console_url to its https:// address",
            2,
        )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False
