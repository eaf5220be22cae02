"""Cases as OCSF Detection Findings, posted as JSON."""

from __future__ import annotations

import re

import msgspec

from jackstop.errors import UserError
from jackstop.notify.channel import Channel
from jackstop.notify.channels import require, require_secret
from jackstop.notify.http import deliver, open_url
from jackstop.notify.message import Message
from jackstop.notify.ocsf import finding

OPTIONS = frozenset({"url", "header", "ca"})
ASKS_FOR = "the value of the header that authorises, such as `Bearer …`, empty for none"
MIN_SEVERITY = "info"

_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")


def check(options: dict[str, str], secret: str) -> dict[str, str]:
    """`url` is where to; `header` which header has the secret (Authorization); `ca` a file of authorities."""
    options["url"] = open_url(require(options, "url", "say where to: --url https://…"), "the URL")
    if not _TOKEN.fullmatch(options.get("header", "Authorization")):
        raise UserError(f"{options['header']!r} is not the name of a header", "such as Authorization", 2)
    if secret:
        require_secret(secret, "pipe in the header's value, on one line")
    return options


def send(channel: Channel, message: Message, now_us: int) -> None:  # noqa: ARG001 -- as every kind
    """Post one finding. Raises Undelivered."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": message.uid}
    if channel.secret:
        headers[channel.options.get("header", "Authorization")] = channel.secret.reveal().decode()
    body = msgspec.json.encode(finding(message))
    deliver("POST", channel.options["url"], body, headers, channel.options.get("ca", ""))
