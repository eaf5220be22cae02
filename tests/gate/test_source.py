"""Where requests come from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.errors import UserError
from jackstop.gate.source import behind, compile_networks, of_peer, within

TRUSTED = compile_networks(["10.0.0.0/8", "2001:db8:1::/48"])


@pytest.mark.parametrize(
    ("peer", "ip", "net", "kind"),
    [
        ("203.0.113.9", "203.0.113.9", "203.0.113.0/24", "private"),
        ("8.8.8.8", "8.8.8.8", "8.8.8.0/24", ""),
        ("::ffff:8.8.8.8", "8.8.8.8", "8.8.8.0/24", ""),
        ("2a00:1450:4001:81b::200e", "2a00:1450:4001:81b::200e", "2a00:1450:4001::/48", ""),
        ("fe80::1%eth0", "fe80::1", "fe80::/48", "private"),
        ("127.0.0.1", "127.0.0.1", "127.0.0.0/24", "loopback"),
    ],
)
def test_a_peer_is_normalised(peer: str, ip: str, net: str, kind: str) -> None:
    source = of_peer(peer)
    assert (source.ip, source.net, source.kind, source.trust) == (ip, net, kind, "peer")


@pytest.mark.parametrize(
    ("forwarded", "ip", "trust"),
    [
        ([], "10.0.0.1", "peer"),
        ([b"8.8.8.8"], "8.8.8.8", "forwarded"),
        ([b"1.1.1.1, 8.8.8.8"], "8.8.8.8", "forwarded"),
        ([b"1.1.1.1", b"8.8.8.8"], "8.8.8.8", "forwarded"),
        ([b"8.8.8.8, 10.1.2.3"], "8.8.8.8", "forwarded"),
        ([b"8.8.8.8, 10.1.2.3,10.9.9.9"], "8.8.8.8", "forwarded"),
        ([b"10.1.2.3"], "10.0.0.1", "peer"),
        ([b"8.8.8.8:4711"], "8.8.8.8", "forwarded"),
        ([b"[2a00::1]:4711"], "2a00::1", "forwarded"),
        ([b"[2a00::1]"], "2a00::1", "forwarded"),
        ([b"2a00::1"], "2a00::1", "forwarded"),
        ([b"::ffff:8.8.8.8"], "8.8.8.8", "forwarded"),
        ([b"8.8.8.8, unknown"], "10.0.0.1", "peer"),
        ([b"8.8.8.8, "], "10.0.0.1", "peer"),
        ([b"\xff"], "10.0.0.1", "peer"),
        ([b"8.8.8.8," + b"10.0.0.2," * 100 + b"10.0.0.2"], "10.0.0.1", "peer"),
    ],
)
def test_the_right_most_hop_that_is_not_trusted_counts(forwarded: list[bytes], ip: str, trust: str) -> None:
    source = behind(of_peer("10.0.0.1"), TRUSTED, forwarded)
    assert (source.ip, source.trust) == (ip, trust)


def test_a_peer_that_is_not_trusted_says_nothing_of_others() -> None:
    assert behind(of_peer("8.8.4.4"), TRUSTED, [b"1.1.1.1"]).ip == "8.8.4.4"


def test_networks_hold_their_addresses_and_no_others() -> None:
    assert within(of_peer("10.255.0.1").address, TRUSTED)
    assert within(of_peer("::ffff:10.255.0.1").address, TRUSTED)
    assert within(of_peer("2001:db8:1:ffff::1").address, TRUSTED)
    assert not within(of_peer("11.0.0.1").address, TRUSTED)
    assert not within(of_peer("2001:db8:2::1").address, TRUSTED)
    assert not within(None, TRUSTED)
    with pytest.raises(UserError):
        compile_networks(["10.0.0.0/33"])


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_any_header_gives_some_source(forwarded: list[bytes]) -> None:
    assert behind(of_peer("10.0.0.1"), TRUSTED, forwarded).address is not None
