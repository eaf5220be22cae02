"""A dead man's switch: a URL that is called as long as all is well, so that its owner notices silence."""

from __future__ import annotations

from jackstop.errors import UserError
from jackstop.notify.channel import Channel
from jackstop.notify.channels import require_secret
from jackstop.notify.http import checked_url, deliver
from jackstop.notify.message import Message

OPTIONS = frozenset({"every_s", "method", "ca"})
ASKS_FOR = "the URL to call"
MIN_SEVERITY = "info"

EVERY_S = 60
_LEAST_S, _MOST_S = 10, 86_400


def check(options: dict[str, str], secret: str) -> dict[str, str]:
    """`every_s` is how often, `method` GET or POST. The URL is the secret: whoever has it can keep the silence away."""
    checked_url(require_secret(secret, "pipe in the URL that the receiver gave you"), "the heartbeat's URL")
    every = options.get("every_s", str(EVERY_S))
    if not every.isascii() or not every.isdigit() or not _LEAST_S <= int(every) <= _MOST_S:
        raise UserError(f"every_s is {every!r}", f"use whole seconds, {_LEAST_S} to {_MOST_S}", 2)
    if options.get("method", "GET") not in {"GET", "POST"}:
        raise UserError(f"method is {options['method']!r}", "use GET or POST", 2)
    return options


def every_s(options: dict[str, str]) -> int:
    """How often to call."""
    return int(options.get("every_s", EVERY_S))


def send(channel: Channel, message: Message, now_us: int) -> None:  # noqa: ARG001 -- as every kind
    """A test message is a beat like any other. Raises Undelivered."""
    beat(channel)


def beat(channel: Channel) -> None:
    """Call once. Raises Undelivered."""
    url = channel.secret.reveal().decode()
    deliver(channel.options.get("method", "GET"), url, b"", {}, channel.options.get("ca", ""))
