"""Where the console is: the address that people's browsers know it by, and which ones are allowed."""

from __future__ import annotations

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
    """Raise UserError where what people answer would cross a network in clear."""
    host, _ = split_address(settings.console)
    if not is_loopback(host) and not settings.console_url.startswith("https://"):
        raise UserError(
            f"{settings.console} can be reached from other machines, and the console's pages would travel in clear",
            "let a proxy that ends TLS stand before it, and set console_url to its https:// address",
            2,
        )
