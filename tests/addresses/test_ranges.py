from __future__ import annotations

import ipaddress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackstop.addresses.ranges import About, Builder, Ranges, read, write
from jackstop.errors import UserError

ABOUT = About(name="n", kind="country", source="f.csv", format="csv", imported_us=2, as_of_us=1)
_BITS = {4: 32, 6: 128}


@st.composite
def networks(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Networks that often overlap or touch, with values."""
    made = []
    for _ in range(draw(st.integers(0, 12))):
        version = draw(st.sampled_from([4, 6]))
        bits = _BITS[version]
        near = draw(st.integers(0, 40))
        base = draw(st.sampled_from([0, 7 << (bits - 8), (1 << bits) - 64]))
        length = draw(st.integers(bits - 6, bits))
        address = ipaddress.ip_address(base + near) if version == 4 else ipaddress.IPv6Address(base + near)
        network = ipaddress.ip_network(f"{address}/{length}", strict=False)
        made.append((str(network), draw(st.sampled_from("ABC"))))
    return made


def build(listed: list[tuple[str, str]]) -> Ranges:
    builder = Builder()
    for text, value in listed:
        network = ipaddress.ip_network(text)
        builder.add(network.version, int(network.network_address), int(network.broadcast_address), value)
    return builder.finish()


def expected(listed: list[tuple[str, str]], address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str | None:
    """The longest prefix, of equal ones the last, as `ipaddress` sees it."""
    hits = [(ipaddress.ip_network(text), value) for text, value in listed]
    hits = [(network, value) for network, value in hits if network.version == address.version and address in network]
    longest = max((network.prefixlen for network, _ in hits), default=0)
    return [None, *(value for network, value in hits if network.prefixlen == longest)][-1]


@settings(max_examples=50)
@given(networks())
def test_every_address_gets_what_ipaddress_says(listed: list[tuple[str, str]]) -> None:
    ranges = build(listed)
    for version, bits in _BITS.items():
        make = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
        for base in (0, 7 << (bits - 8), (1 << bits) - 64):
            for near in range(64):
                address = make(base + near)
                assert ranges.find(version, int(address)) == expected(listed, address), address


@given(networks())
def test_ranges_are_sorted_apart_and_as_few_as_can_be(listed: list[tuple[str, str]]) -> None:
    ranges = build(listed)
    for version in (4, 6):
        found = list(ranges.of_version(version))
        for one, next_one in pairwise(found):
            assert one.first <= one.last < next_one.first
            assert one.last + 1 < next_one.first or one.value != next_one.value


@given(networks())
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, listed: list[tuple[str, str]]) -> None:
    path = tmp_path_factory.getbasetemp() / "addresses" / "n.ranges"
    ranges = build(listed)
    write(path, ABOUT, ranges)
    about, again = read(path)
    assert (about.name, about.kind, about.source) == ("n", "country", "f.csv")
    assert again.values == ranges.values
    assert [array for array, _ in again.arrays()] == [array for array, _ in ranges.arrays()]


def test_a_cut_at_any_place_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "cut.ranges"
    write(path, ABOUT, build([("10.0.0.0/8", "A"), ("2001:db8::/32", "B")]))
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place])
        with pytest.raises(UserError, match="damaged"):
            read(path)


@given(st.data())
def test_any_damage_is_seen(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.ranges"
    write(path, ABOUT, build([("10.0.0.0/8", "A"), ("2001:db8::/32", "B")]))
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["cut", "flip", "more"]))
    changed = bytearray(whole)
    if kind == "cut":
        del changed[place:]
    elif kind == "flip":
        changed[place] ^= data.draw(st.integers(1, 255))
    else:
        changed += b"\0"
    path.write_bytes(changed)
    with pytest.raises(UserError, match="damaged") as raised:
        read(path)
    assert "jackstop addresses remove damaged" in raised.value.remedy


def test_a_file_of_another_kind_of_machine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "n.ranges"
    with monkeypatch.context() as other:
        other.setattr("jackstop.addresses.ranges.sys.byteorder", "middle")
        write(path, ABOUT, build([]))
    with pytest.raises(UserError, match="another kind") as raised:
        read(path)
    assert raised.value.remedy == "import f.csv again here"
