from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmdb_writer
import netaddr
import pytest

from jackstop.addresses import importer
from jackstop.addresses.importer import keep, prepare
from jackstop.addresses.lookup import Kind, Lookup, Place, files
from jackstop.errors import UserError
from jackstop.events.schema import Event
from jackstop.settings import Home

NOW_US = 1_795_435_200_000_000
DAY_US = 86_400_000_000


class Importer:
    """Writes files and imports them into a home."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home, self.folder = home, folder

    def __call__(
        self, content: str | bytes, kind: Kind, name: str = "", form: Any = "auto", days_ago: int = 1, file: str = "f"
    ) -> Any:
        path = self.folder / file
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        written_s = NOW_US // 1_000_000 - days_ago * 86_400
        os.utime(path, (written_s, written_s))
        done = prepare(path, kind, name, form, NOW_US)
        keep(self.home, done)
        return done

    def mmdb(self, records: dict[str, Any], kind: Kind, name: str = "", ip_version: int = 6) -> Any:
        return self(database(self.folder, records, ip_version), kind, name)


def database(folder: Path, records: dict[str, Any], ip_version: int = 6) -> bytes:
    writer = mmdb_writer.MMDBWriter(ip_version=ip_version, ipv4_compatible=ip_version == 6)
    for network, record in records.items():
        writer.insert_network(netaddr.IPSet([network]), record)
    path = folder / "made.mmdb"
    writer.to_db_file(str(path))
    return path.read_bytes()


@pytest.fixture
def add(home: Home, tmp_path: Path) -> Importer:
    return Importer(home, tmp_path)


def enriched(home: Home, address: str, **fields: Any) -> Event:
    event = Event(src_ip=address, **fields)
    Lookup.load(home).enrich(event)
    return event


# -- what an event gets -----------------------------------------------------------------------------------------------


def test_an_event_gets_country_operator_and_kind(home: Home, add: Importer) -> None:
    add("198.51.100.0,198.51.100.255,NL", "country")
    add("198.51.100.0/24,64500,Example Networks", "asn")
    add("198.51.100.7", "tor")
    event = enriched(home, "198.51.100.7")
    assert (event.country, event.asn, event.as_org, event.network_kind) == ("NL", 64500, "Example Networks", "tor")
    assert enriched(home, "198.51.101.7") == Event(src_ip="198.51.101.7")


def test_an_operator_may_have_a_number_alone(home: Home, add: Importer) -> None:
    add("198.51.100.0/24,64500", "asn")
    assert Lookup(home).place("198.51.100.7") == Place(asn=64500)


@pytest.mark.parametrize("kind", ["private", "loopback"])
def test_an_own_address_stays_as_it_is(home: Home, add: Importer, kind: str) -> None:
    add("0.0.0.0/2\n", "hosting")
    add("0.0.0.0/2,NL\n", "country")
    assert enriched(home, "10.0.0.1", network_kind=kind) == Event(src_ip="10.0.0.1", network_kind=kind)


def test_what_the_source_says_itself_stays(home: Home, add: Importer) -> None:
    add("198.51.100.0/24,NL", "country")
    add("198.51.100.0/24,64500,Example", "asn")
    add("198.51.100.0/24", "hosting")
    said = {"country": "DE", "asn": 7, "as_org": "", "network_kind": "corporate"}
    assert enriched(home, "198.51.100.7", **said) == Event(src_ip="198.51.100.7", **said)


@pytest.mark.parametrize("address", ["", "not an address", "1.2.3", "10.0.0.1/8"])
def test_what_is_no_address_is_left_alone(home: Home, add: Importer, address: str) -> None:
    add("0.0.0.0/0,NL", "country")
    assert enriched(home, address) == Event(src_ip=address)


def test_the_kind_that_says_most_has_the_word(home: Home, add: Importer) -> None:
    lists: list[tuple[str, Kind, str]] = [
        ("198.51.100.0/26", "mobile", "mobile"),
        ("198.51.100.0/27", "hosting", "hosting"),
        ("198.51.100.0/28", "cloud", "aws"),
        ("198.51.100.0/29", "vpn", "vpn"),
        ("198.51.100.0/30", "tor", "tor"),
    ]
    for content, kind, name in lists:
        add(content, kind, name)
    lookup = Lookup(home)
    found = [lookup.place(f"198.51.100.{last}").network_kind for last in (1, 5, 9, 17, 33, 65)]
    assert found == ["tor", "vpn", "aws", "hosting", "mobile", ""]


def test_of_two_files_of_a_kind_the_newer_data_has_the_word(home: Home, add: Importer) -> None:
    add("198.51.100.0/24,NL\n198.51.101.0/24,NL", "country", "old", days_ago=40)
    add("198.51.100.0/24,DE", "country", "new", days_ago=2)
    lookup = Lookup(home)
    assert [lookup.place(address).country for address in ("198.51.100.1", "198.51.101.1")] == ["DE", "NL"]
    assert lookup.oldest.name == "old"
    assert [about.name for about, _ in lookup.matches("198.51.100.1")] == ["new", "old"]


def test_a_home_without_data_knows_nothing_and_says_so(home: Home) -> None:
    lookup = Lookup.load(home)
    assert not lookup.loaded
    assert lookup.columns == frozenset()
    assert lookup.place("198.51.100.7") == Place()


def test_a_lookup_says_which_columns_it_can_fill(home: Home, add: Importer) -> None:
    add("198.51.100.0/24,64500,Example", "asn")
    assert Lookup(home).columns == {"asn", "as_org"}
    add("198.51.100.0/24", "vpn")
    assert Lookup(home).columns == {"asn", "as_org", "network_kind"}


# -- changes ----------------------------------------------------------------------------------------------------------


def test_a_running_lookup_takes_up_what_changed(home: Home, add: Importer) -> None:
    lookup = Lookup.load(home)
    assert not lookup.reload_if_changed()
    add("198.51.100.0/24,NL", "country")
    assert lookup.reload_if_changed()
    assert lookup.place("198.51.100.7").country == "NL"
    add("198.51.100.0/24,DE", "country")
    assert lookup.reload_if_changed()
    assert lookup.place("198.51.100.7").country == "DE"
    assert not lookup.reload_if_changed()
    files(home)[0].unlink()
    assert lookup.reload_if_changed()
    assert not lookup.loaded


def test_a_damaged_file_is_left_out_and_said(home: Home, add: Importer, caplog: pytest.LogCaptureFixture) -> None:
    add("198.51.100.0/24,NL", "country")
    add("198.51.100.0/24", "vpn")
    path = next(path for path in files(home) if path.stem == "vpn")
    path.write_bytes(path.read_bytes()[:-1])
    lookup = Lookup.load(home)
    assert lookup.place("198.51.100.7") == Place(country="NL")
    assert "damaged" in caplog.text
    assert len(lookup.damaged) == 1
    add("198.51.100.0/24", "vpn")
    lookup.reload_if_changed()
    assert lookup.damaged == []
    assert lookup.place("198.51.100.7").network_kind == "vpn"


def test_an_import_that_fails_leaves_what_was_there(home: Home, add: Importer) -> None:
    add("198.51.100.0/24,NL", "country")
    with pytest.raises(UserError):
        add("rubbish\n198.51.100.0/24,DE\nmore rubbish", "country")
    assert Lookup(home).place("198.51.100.7").country == "NL"


def test_files_are_for_their_owner_alone(home: Home, add: Importer) -> None:
    add("198.51.100.0/24", "vpn")
    assert files(home)[0].stat().st_mode & 0o077 == 0
    assert home.addresses.stat().st_mode & 0o077 == 0


# -- formats ----------------------------------------------------------------------------------------------------------


def test_mmdb_of_countries_and_cities(home: Home, add: Importer) -> None:
    add.mmdb(
        {
            "198.51.100.0/24": {"country": {"iso_code": "NL"}, "city": {"names": {"en": "Utrecht"}}},
            "203.0.113.0/24": {"registered_country": {"iso_code": "DE"}},
            "2001:db8::/32": {"country_code": "FR"},
            "192.0.2.0/24": {"traits": {}},
        },
        "country",
    )
    lookup = Lookup(home)
    addresses = ("198.51.100.7", "203.0.113.7", "2001:db8::7", "192.0.2.7", "::ffff:198.51.100.7")
    assert [lookup.place(address).country for address in addresses] == ["NL", "DE", "FR", "", "NL"]


def test_mmdb_of_operators(home: Home, add: Importer) -> None:
    record = {"autonomous_system_number": 64500, "autonomous_system_organization": "Example Networks"}
    add.mmdb({"198.51.100.0/24": record, "203.0.113.0/24": {"asn": "AS64501", "as_name": "Other"}}, "asn", ip_version=4)
    lookup = Lookup(home)
    assert lookup.place("198.51.100.7") == Place(asn=64500, as_org="Example Networks")
    assert lookup.place("203.0.113.7") == Place(asn=64501, as_org="Other")


def test_mmdb_of_anonymisers_and_connections(home: Home, add: Importer) -> None:
    records = {
        "198.51.100.0/25": {"is_anonymous": True, "is_tor_exit_node": True},
        "198.51.100.128/25": {"is_anonymous": True, "is_anonymous_vpn": True},
        "203.0.113.0/24": {"is_hosting_provider": True},
    }
    kinds: tuple[Kind, ...] = ("tor", "vpn", "hosting")
    for kind in kinds:
        add.mmdb(records, kind)
    add.mmdb(
        {"192.0.2.0/24": {"connection_type": "Cellular"}, "192.0.3.0/24": {"connection_type": "Corporate"}}, "mobile"
    )
    lookup = Lookup(home)
    addresses = ("198.51.100.1", "198.51.100.129", "203.0.113.1", "192.0.2.1", "192.0.3.1")
    assert [lookup.place(address).network_kind for address in addresses] == ["tor", "vpn", "hosting", "mobile", ""]


def test_mmdb_says_of_when_it_is(add: Importer) -> None:
    done = add.mmdb({"198.51.100.0/24": {"country_code": "NL"}}, "country")
    # The writer stamps it with the machine's time; nothing is of later than now.
    assert 0 < done.about.as_of_us <= NOW_US


def test_a_cut_mmdb_is_refused(add: Importer, tmp_path: Path) -> None:
    whole = database(tmp_path, {"198.51.100.0/24": {"country_code": "NL"}})
    with pytest.raises(UserError, match="no whole MMDB file"):
        add(whole[:-200], "country", form="mmdb")


def test_an_mmdb_that_does_not_say_when_it_was_built_is_refused(add: Importer, tmp_path: Path) -> None:
    whole = database(tmp_path, {"198.51.100.0/24": {"country_code": "NL"}})
    at = whole.index(b"build_epoch") + len(b"build_epoch")
    size = whole[at] & 0x1F
    assert whole[at] >> 5 == 0, "an extended kind of number"
    text = bytes([0x40 | size + 1]) + b"x" * (size + 1)
    with pytest.raises(UserError, match="no whole MMDB file"):
        add(whole[:at] + text + whole[at + 2 + size :], "country", form="mmdb")


def test_an_mmdb_that_is_damaged_inside_leaves_what_was_there(home: Home, add: Importer, tmp_path: Path) -> None:
    add("192.0.2.0/24,DE", "country")
    records = {f"198.51.{number}.0/24": {"country_code": "BE" if number == 100 else "NL"} for number in range(128)}
    whole = database(tmp_path, records)
    # A text of two letters, and in its place one that is longer than the file.
    assert whole.count(b"\x42BE") == 1
    with pytest.raises(UserError, match="damaged MMDB"):
        add(whole.replace(b"\x42BE", b"\x5f\xff\xff"), "country")
    assert Lookup(home).place("192.0.2.7").country == "DE"


def test_packed_files_are_unpacked(home: Home, add: Importer, tmp_path: Path) -> None:
    add(gzip.compress(b"198.51.100.0/24,NL"), "country")
    add(gzip.compress(database(tmp_path, {"198.51.100.0/24": {"asn": "AS1"}})), "asn")
    assert Lookup(home).place("198.51.100.7") == Place("NL", 1)
    with pytest.raises(UserError, match="damaged"):
        add(gzip.compress(b"198.51.100.0/24,NL")[:-9], "country")


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_what_is_too_much_for_memory_is_refused(
    add: Importer, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(importer, "_MOST_BYTES", 1 << 20)
    lines = b"198.51.100.0/24,NL\n"
    add(pack(lines.ljust(1 << 20, b"\n")), "country")
    with pytest.raises(UserError, match="holds more than 1 MiB") as caught:
        add(pack(lines.ljust((1 << 20) + 1, b"\n")), "country", "more")
    assert "in parts" in caught.value.remedy
    assert [path.stem for path in files(add.home)] == ["country"]


def test_a_pipe_can_be_imported(home: Home, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(gzip.compress(b"198.51.100.0/24,NL"),))
    writer.start()
    keep(home, prepare(pipe, "country", "", "auto", NOW_US))
    writer.join()
    assert Lookup(home).place("198.51.100.7").country == "NL"


def test_a_name_may_hold_any_sign_that_ends_no_line(home: Home, add: Importer) -> None:
    add("198.51.100.0/24,64500,Some\x85Net\u2028Work", "asn")
    assert Lookup(home).place("198.51.100.7").as_org == "Some\x85Net\u2028Work"


def test_a_cloud_s_file_names_itself(home: Home, add: Importer) -> None:
    document = {"createDate": "2026-11-20-01-02-03", "prefixes": [{"ip_prefix": "198.51.100.0/24"}]}
    done = add(json.dumps(document), "cloud", days_ago=0)
    assert (done.about.name, done.about.format) == ("aws", "json")
    assert done.about.as_of_us == NOW_US - 3 * DAY_US + ((1 - 12) * 3_600 + 2 * 60 + 3) * 1_000_000
    assert Lookup(home).place("198.51.100.7").network_kind == "aws"


def test_the_name_does_not_change_whose_cloud_it_is(home: Home, add: Importer) -> None:
    document = {"createDate": "2026-11-20-01-02-03", "prefixes": [{"ip_prefix": "198.51.100.0/24"}]}
    add(json.dumps(document), "cloud", "mine")
    add("203.0.113.0/24", "cloud", "cloudflare")
    add('["192.0.2.0/24"]', "cloud", "fastly")
    lookup = Lookup(home)
    addresses = ("198.51.100.7", "203.0.113.7", "192.0.2.7")
    assert [lookup.place(address).network_kind for address in addresses] == ["aws", "cloudflare", "fastly"]


def test_a_byte_order_mark_is_no_part_of_an_address(home: Home, add: Importer) -> None:
    add("\ufeff198.51.100.0/24,NL", "country")
    assert Lookup(home).place("198.51.100.7").country == "NL"


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "kind", "name", "problem"),
    [
        ("198.51.100.7", "country", "", "says nothing of any country"),
        ("198.51.100.0/24", "cloud", "", "does not say whose cloud"),
        ('["198.51.100.0/24"]', "cloud", "", "does not say whose cloud"),
        ('{"prefixes": []}', "asn", "", "says nothing of any asn"),
        ('{"something": "else"}', "cloud", "", "JSON of a shape"),
        ('{"prefixes": ', "cloud", "", "no whole JSON"),
        ("", "tor", "", "has 0 ranges of kind tor and 0 lines that are none"),
        ("a,b\nc,d", "country", "", "the first: line 1, no address"),
        ("198.51.100.0/24", "vpn", "../x", "no name for address data"),
        ("198.51.100.0/24", "cloud", "private", "no name for address data"),
        ("PK\x03\x04...", "vpn", "", "zip archive"),
        ("0.0.0.0/0", "tor", "", "covers more than half"),
    ],
)
def test_what_cannot_be_right_is_refused(add: Importer, content: str, kind: Kind, name: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        add(content, kind, name)
    assert files(add.home) == []


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        prepare(tmp_path / "nothing", "tor", "", "auto", NOW_US)


def test_bad_lines_are_counted_and_the_first_are_named(add: Importer) -> None:
    lines = [f"198.51.{number}.0/24,NL" if number % 3 else "rubbish,x" for number in range(60)]
    done = add("\n".join(lines), "country")
    assert (done.about.bad, len(done.bad), done.bad[0].place) == (20, 10, "line 1")
