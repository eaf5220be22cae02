from __future__ import annotations

import os
from pathlib import Path

from tests.cli.conftest import Shell

_OLD_S = 40 * 86_400


def write(tmp_path: Path, text: str, *, old: bool = False) -> str:
    path = tmp_path / "ranges.csv"
    path.write_text(text)
    if old:
        changed = path.stat().st_mtime - _OLD_S
        os.utime(path, (changed, changed))
    return str(path)


def test_data_is_imported_listed_looked_at_and_removed(shell: Shell, tmp_path: Path) -> None:
    file = write(tmp_path, "198.51.100.0/24,NL\nrubbish\n203.0.113.0/24,DE\n")
    ran = shell.ok("addresses", "import", file, "--kind", "country")
    assert ran.out.startswith("country: 2 ranges of ")
    assert "ranges.csv, line 2: too few columns; set aside" in ran.err
    assert shell.ok("addresses", "list", "--json").json[0]["ranges"] == 2
    assert shell.ok("addresses", "look", "198.51.100.7", "--json").json == {
        "address": "198.51.100.7",
        "country": "NL",
        "asn": None,
        "as_org": "",
        "network_kind": "",
        "sources": ["country"],
    }
    assert "nothing is known" in shell.ok("addresses", "look", "192.0.2.1").out
    shell.ok("addresses", "remove", "country")
    assert "no address data" in shell.ok("addresses", "list").out
    assert shell("addresses", "remove", "country").status == 2


def test_imports_and_removals_are_on_record(shell: Shell, tmp_path: Path) -> None:
    before = int(shell.ok("audit", "verify", "--json").json["seq"])
    shell.ok("addresses", "import", write(tmp_path, "198.51.100.0/24"), "--kind", "vpn")
    shell.ok("addresses", "remove", "vpn")
    assert shell.ok("audit", "verify", "--json").json["seq"] == before + 2


def test_old_data_is_warned_of(shell: Shell, tmp_path: Path) -> None:
    ran = shell.ok("addresses", "import", write(tmp_path, "198.51.100.0/24", old=True), "--kind", "vpn")
    assert "vpn is 40 days old" in ran.err
    ran = shell.ok("addresses", "list", "--json")
    assert (ran.json[0]["state"], ran.json[0]["age_days"]) == ("old", 40)
    assert "vpn is 40 days old" in ran.err
    checks = {each["check"]: each for each in shell("doctor", "--json").json["results"]}
    assert checks["address data"]["state"] == "warning"


def test_the_doctor_says_that_there_is_none_or_what_it_fills(shell: Shell, tmp_path: Path) -> None:
    def note() -> str:
        checks = {each["check"]: each for each in shell("doctor", "--json").json["results"]}
        return str(checks["address data"]["note"])

    assert note().startswith("none: ")
    shell.ok("addresses", "import", write(tmp_path, "198.51.100.0/24"), "--kind", "vpn")
    assert note() == "fills network_kind; the oldest is 0 days old"


def test_damaged_data_is_said_with_what_to_do(shell: Shell, tmp_path: Path) -> None:
    shell.ok("addresses", "import", write(tmp_path, "198.51.100.0/24"), "--kind", "vpn")
    path = shell.home.addresses / "vpn.ranges"
    path.write_bytes(path.read_bytes()[:-1])
    for ran in (shell.ok("addresses", "list", "--json"), shell.ok("addresses", "look", "198.51.100.7")):
        assert "is damaged" in ran.err
        assert "jackstop addresses remove vpn" in ran.err
    assert shell.ok("addresses", "list", "--json").json[0]["state"] == "damaged"
    ran = shell("doctor")
    assert ran.status == 1
    assert "is damaged" in ran.out
    shell.ok("addresses", "remove", "vpn")


def test_nothing_is_imported_before_there_is_a_home(bare: Shell, tmp_path: Path) -> None:
    ran = bare("addresses", "import", write(tmp_path, "198.51.100.0/24"), "--kind", "vpn")
    assert ran.status == 3
    assert "jackstop init" in ran.err
    assert not (bare.home.addresses / "vpn.ranges").exists()


def test_what_is_no_address_is_wrong_use(shell: Shell) -> None:
    assert shell("addresses", "look", "nonsense").status == 2
