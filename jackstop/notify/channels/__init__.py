"""The kinds of channels. Each module has the options that it knows, a check of them, and a way to send."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from jackstop.errors import UserError
from jackstop.notify.channel import Channel
from jackstop.notify.message import Message

_MODULES = {
    "slack": "slack",
    "pagerduty": "pagerduty",
    "email": "email",
    "webhook": "webhook",
    "ocsf-file": "ocsf_file",
    "ocsf-http": "ocsf_http",
    "ocsf-s3": "ocsf_s3",
    "heartbeat": "heartbeat",
}
KINDS = tuple(_MODULES)
COMMON_OPTIONS = frozenset({"quiet", "quiet_all"})
"""Options of every kind: hours in which it keeps still, and whether severe news do too."""


class Kind(Protocol):
    """What a module of this package has."""

    OPTIONS: frozenset[str]
    """Names of its options, besides COMMON_OPTIONS."""
    ASKS_FOR: str
    """What is asked for on standard input, empty when nothing is."""
    MIN_SEVERITY: str
    """Where nobody says otherwise."""

    def check(self, options: dict[str, str], secret: str) -> dict[str, str]:
        """The options in their final form. Raises UserError for what could not work; never repeats the secret."""
        ...

    def send(self, channel: Channel, message: Message, now_us: int) -> None:
        """Deliver once. Raises Undelivered."""
        ...


def find(kind: str) -> Kind:
    """The module for a kind. Raises UserError for one that there is not."""
    if kind not in _MODULES:
        raise UserError(f"there is no kind of channel {kind!r}", f"one of: {', '.join(KINDS)}", 2)
    found: Kind = import_module(f"{__name__}.{_MODULES[kind]}")
    return found


def require(options: dict[str, str], name: str, remedy: str) -> str:
    """An option that must be there. Raises UserError."""
    if not options.get(name):
        raise UserError(f"the channel lacks {name}", remedy, 2)
    return options[name]


def require_secret(secret: str, remedy: str) -> str:
    """A secret that must be there: one line of printable ASCII. Raises UserError, which does not repeat it."""
    if not secret:
        raise UserError("no secret came on standard input", remedy, 2)
    if not secret.isascii() or not secret.isprintable():
        raise UserError("the secret on standard input holds line breaks or odd characters", remedy, 2)
    return secret
