"""What the logs of Azure and Google Cloud have in common: their times, callers' addresses, clients and results."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from jackstop.clock import from_datetime
from jackstop.events.schema import Event
from jackstop.events.sources.entry import UnreadableEntry, kept, place
from jackstop.gate.source import of_peer

_CLIENTS = (
    ("gcloud", "gcloud"), ("google-cloud-sdk", "gcloud"), ("terraform", "terraform"), ("azurecli", "azure-cli"),
    ("azpowershell", "azure-powershell"), ("python-requests", "requests"), ("aiohttp", "aiohttp"),
    ("urllib3", "urllib3"), ("axios", "axios"), ("node-fetch", "node-fetch"), ("undici", "node-fetch"),
    ("curl", "curl"), ("okhttp", "java"), ("java", "java"), ("go-http", "go"), ("gl-go", "go"),
    ("openai", "openai"), ("genai", "google-genai"), ("gl-python", "google-python"), ("mozilla", "browser"),
)  # fmt: skip
"""Parts of user agents, and the family that each stands for; the first that fits."""
_PORTAL = "%m/%d/%Y, %I:%M:%S.%f %p"
"""How Azure's portal writes a time, without its zone, when it exports a query as CSV."""
_MOST = 1 << 52
"""No count or duration is so large; as milliseconds it still is a number of microseconds that a column holds."""
_DENIED, _NOT_FOUND, _THROTTLED = frozenset({401, 403}), frozenset({404, 410}), 429


def nested(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A field that is an object, or JSON text of one as Log Analytics has it; anything else is an empty one."""
    value = record.get(name)
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def first(record: Mapping[str, Any], *names: str) -> str:
    """The first of the fields that has a text; of `{"value": …}`, which Azure's REST interface writes, the value."""
    for name in names:
        value = record.get(name)
        if isinstance(value, dict):
            value = value.get("value")
        if isinstance(value, str) and value:
            return value
    return ""


def time_us(text: str) -> int:
    """UTC microseconds of a time in ISO 8601; one without a zone is UTC. Raises UnreadableEntry."""
    try:
        read = datetime.strptime(text, _PORTAL) if text.endswith("M") else datetime.fromisoformat(text)  # noqa: DTZ007 -- made UTC
        return from_datetime(read if read.tzinfo else read.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise UnreadableEntry("its time is none") from None


def digest(*parts: object) -> str:
    """A short hash of what tells an entry from others, for logs that number none."""
    try:
        text = msgspec.json.encode(parts, order="sorted")
    except UnicodeEncodeError:
        # Halves of surrogates, which JSON can write and UTF-8 cannot.
        text = json.dumps(parts, sort_keys=True).encode()
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def set_caller(event: Event, address: str, agent: str | None) -> None:
    """Where a call came from: an address, one with a port, one whose last number is masked, or a word instead."""
    place(event, None, agent)
    if agent is not None:
        event.client = client_of(agent)
    if address:
        event.src_ip, event.src_net, event.network_kind, event.src_raw = _place_of(address)


@lru_cache(maxsize=4096)
def client_of(agent: str) -> str:
    """The family of a user agent: `none` for an empty one, `other` for one that is not known."""
    text = agent.lower()
    if not text:
        return "none"
    return next((family for part, family in _CLIENTS if part in text), "other")


def outcome_of(status: int) -> str:
    """The word for an HTTP status."""
    if status < 400:
        return "ok"
    if status in _DENIED:
        return "denied"
    if status in _NOT_FOUND:
        return "not_found"
    if status == _THROTTLED:
        return "throttled"
    return "invalid" if status < 500 else "error"


def number(value: object) -> int | None:
    """A whole number, also from text such as Azure writes; None for what is none, negative or beyond all measure."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    return value if isinstance(value, int) and 0 <= value < _MOST else None


@lru_cache(maxsize=8192)
def _place_of(address: str) -> tuple[str, str, str, str]:
    """Address, network, kind of network, and what stands there where that is no address."""
    bare = _without_port(address)
    source = of_peer(bare)
    if source.ip:
        return source.ip, source.net, source.kind, ""
    return "", _masked_net(bare), "", kept(bare)


def _without_port(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _masked_net(address: str) -> str:
    """The /24 of an address such as `81.2.69.***`, which is how Azure OpenAI hides the last number."""
    network, _, last = address.rpartition(".")
    if not last.strip("*xX"):
        try:
            return str(ipaddress.ip_network(f"{network}.0/24"))
        except ValueError:
            return ""
    return ""
