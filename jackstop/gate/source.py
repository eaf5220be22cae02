"""Admit: where a request comes from; the socket's peer unless the user's own proxies say better."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Literal, NamedTuple

from jackstop.errors import UserError
from jackstop.keys.format import masked

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks = tuple[tuple[int, int, int], ...]
"""CIDR blocks as (IP version, network, mask)."""
_MAX_HOPS = 32
_RAW_CHARS = 200


class Source(NamedTuple):
    """An address, its network (/24, /48), what was said of it in the raw, and why it is believed."""

    address: Address | None
    ip: str
    net: str
    raw: str
    trust: Literal["peer", "forwarded", "proxy", ""]
    kind: str


UNKNOWN = Source(None, "", "", "", "", "")


def parse_address(text: str) -> Address | None:
    """An IP address without port or brackets; IPv4 mapped into IPv6 becomes IPv4, a zone is dropped."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def compile_networks(networks: Sequence[str]) -> Networks:
    """CIDR blocks ready for `within`. Raises UserError for one that is none."""
    compiled = []
    for text in networks:
        try:
            network = ipaddress.ip_network(text.strip(), strict=False)
        except ValueError:
            raise UserError(f"{text!r} is not a network", "write it as 10.0.0.0/8 or 2001:db8::/32", 2) from None
        compiled.append((network.version, int(network.network_address), int(network.netmask)))
    return tuple(compiled)


def within(address: Address | None, networks: Networks) -> bool:
    """Whether the address is known and in one of the networks."""
    if address is None:
        return False
    number, version = int(address), address.version
    return any(version == kind and number & mask == network for kind, network, mask in networks)


def net_of(address: Address) -> str:
    """The /24 or /48 that holds the address."""
    keep = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network(f"{address}/{keep}", strict=False))


def _source(address: Address, raw: str, trust: Literal["peer", "forwarded", "proxy"]) -> Source:
    kind = "loopback" if address.is_loopback else "private" if address.is_private else ""
    return Source(address, str(address), net_of(address), masked(raw)[:_RAW_CHARS], trust, kind)


def of_peer(host: str, *, by_proxy: bool = False) -> Source:
    """The source as the socket, or with `by_proxy` the PROXY protocol, names it."""
    address = parse_address(host)
    return UNKNOWN if address is None else _source(address, host, "proxy" if by_proxy else "peer")


def behind(peer: Source, trusted: Networks, forwarded: Sequence[bytes]) -> Source:
    """The right-most hop of X-Forwarded-For that is not trusted, if the peer itself is trusted.

    `forwarded` are the header's values in their order. A hop that is no address, or more than 32 trusted ones,
    make the whole header worthless: the peer it is.
    """
    if not forwarded or not within(peer.address, trusted):
        return peer
    raw = b",".join(forwarded).decode("latin-1")
    for count, hop in enumerate(reversed(raw.split(","))):
        address = _hop(hop.strip())
        if address is None or count >= _MAX_HOPS:
            return peer
        if not within(address, trusted):
            return _source(address, raw, "forwarded")
    return peer


def _hop(text: str) -> Address | None:
    """An address as proxies write it: bare, `1.2.3.4:5678`, `[::1]` or `[::1]:5678`."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return parse_address(text)
