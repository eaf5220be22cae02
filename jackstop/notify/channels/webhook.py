"""A webhook, signed as Standard Webhooks asks (standardwebhooks.com, version 1.0.0)."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Any

import msgspec

from jackstop.clock import US_PER_S, iso
from jackstop.errors import UserError
from jackstop.notify.channel import Channel
from jackstop.notify.channels import require
from jackstop.notify.http import deliver, open_url
from jackstop.notify.message import Message

OPTIONS = frozenset({"url", "ca"})
ASKS_FOR = "the signing secret, whsec_…"
MIN_SEVERITY = "medium"

_PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 64
_MAKE_ONE = 'make one: echo "whsec_$(openssl rand -base64 32)"'


def check(options: dict[str, str], secret: str) -> dict[str, str]:
    """`url` is where to; `ca` a file of authorities. During a change there may be two secrets, with a space between."""
    options["url"] = open_url(require(options, "url", "say where to: --url https://…"), "the URL")
    if not secret.split():
        raise UserError("no secret came on standard input", f"pipe in a signing secret; {_MAKE_ONE}", 2)
    for each in secret.split():
        _key(each)
    return options


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not _SHORTEST <= len(key) <= _LONGEST:
        raise UserError(f"the signing secret is not whsec_ and {_SHORTEST} to {_LONGEST} bytes in base64", _MAKE_ONE, 2)
    return key


def send(channel: Channel, message: Message, now_us: int) -> None:
    """Post one signed message. Raises Undelivered."""
    body = msgspec.json.encode(content(message))
    secrets = channel.secret.reveal().decode().split()
    headers = signed(message.uid, now_us // US_PER_S, body, secrets)
    headers["Content-Type"] = "application/json"
    deliver("POST", channel.options["url"], body, headers, channel.options.get("ca", ""))


def signed(uid: str, timestamp_s: int, body: bytes, secrets: list[str]) -> dict[str, str]:
    """The three headers. The id is the same at every attempt, the time is that of the attempt."""
    content_to_sign = f"{uid}.{timestamp_s}.".encode() + body
    digests = (hmac.digest(_key(secret), content_to_sign, "sha256") for secret in secrets)
    return {
        "webhook-id": uid,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }


def content(message: Message) -> dict[str, Any]:
    """What the receiver gets: a type, a time, and the data."""
    newest = message.newest
    return {
        "type": message.kind,
        "timestamp": iso(message.at_us[-1]),
        "data": {
            "installation": message.installation,
            "case_id": newest.case_id,
            "group_key": newest.group_key,
            "severity": message.severity,
            "title": newest.title,
            "text": newest.text,
            "facts": message.facts,
            "actions": [{"label": label, "target": target} for label, target in message.actions],
            "earlier": [
                {"type": each.kind, "timestamp": iso(at_us), "title": each.title, "text": each.text}
                for at_us, each in zip(message.at_us[:-1], message.news[:-1], strict=True)
            ],
        },
    }
