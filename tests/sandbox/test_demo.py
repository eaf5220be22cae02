"""The demo as a user starts it: the real program, its applications, and the replays."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.slow
PATIENCE_S = 300
USD = 1_000_000_000


def begin(*options: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "jackstop", "demo", *options],
        env=os.environ | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def left_over(group: int) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if entry.name.isdigit() and int(fields[2]) == group and fields[0] != "Z":
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except (OSError, IndexError):
            continue
    return found


class Runs(NamedTuple):
    ending: subprocess.Popen[str]
    staying: subprocess.Popen[str]
    folders: tuple[Path, Path]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Both ways to run it, side by side: most of the time they wait for a provider's report."""
    folders = tmp_path_factory.mktemp("ending"), tmp_path_factory.mktemp("staying")
    ending = begin("--exit", "--json", str(folders[0] / "attacks.json"), folder=folders[0])
    staying = begin(folder=folders[1])
    yield Runs(ending, staying, folders)
    for demo in (ending, staying):
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
        demo.communicate()


def test_every_thief_is_stopped_and_the_applications_notice_nothing(runs: Runs) -> None:
    demo, folder = runs.ending, runs.folders[0]
    file = folder / "attacks.json"
    said, _ = demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 0, said
    attacks = json.loads(file.read_text())["attacks"]
    elsewhere, flat_out, swarm, resale, account, shadow = attacks

    assert elsewhere["attacker_requests"] == elsewhere["refused_requests"] == 12
    assert elsewhere["attacker_spend_nusd"] == 0
    assert elsewhere["first_call_ts"] == elsewhere["detected_ts"] == elsewhere["contained_ts"]

    assert 0.9 * USD < flat_out["attacker_spend_nusd"] <= USD
    assert flat_out["attacker_spend_nusd"] == flat_out["attacker_booked_nusd"]
    assert 0 < flat_out["refused_requests"] < flat_out["attacker_requests"]
    assert flat_out["first_call_ts"] < flat_out["detected_ts"] <= flat_out["contained_ts"]

    for attack in (swarm, resale):
        assert attack["first_call_ts"] <= attack["detected_ts"] <= attack["contained_ts"], said
        assert 0 < attack["attacker_spend_nusd"] < 10 * USD
        assert attack["attacker_spend_nusd"] <= attack["attacker_booked_nusd"]
    assert re.search(r"response +throttle, applied\n", said)
    assert "was this you?" in said
    assert re.search(r"mail +the owner, research@example\.com, is asked: was this you\?\n", said)
    assert re.search(r"console +on http://localhost:\d+;", said)

    # In an account with no gate, the log tells of it, and a person contains.
    assert account["first_call_ts"] < account["detected_ts"], said
    assert account["contained_ts"] is None
    assert account["attacker_spend_nusd"] is None
    assert account["attacker_requests"] > 200
    assert "0 findings that would wake somebody" in said
    assert re.search(r"case +high: principal:arn:aws:iam::\d{12}:user/mailer-00\n", said)

    # Past the gate nothing is booked, and only what the provider reports brings it to light.
    assert shadow["first_call_ts"] < shadow["detected_ts"] < shadow["contained_ts"], said
    assert shadow["attacker_spend_nusd"] > USD
    assert shadow["attacker_booked_nusd"] == 0
    assert 0 < shadow["refused_requests"] < shadow["attacker_requests"]
    assert re.search(r"T2 +thief at the provider, from 127\.0\.0\.9: call \d+: 401\n", said)
    assert re.search(r"T2 +contain at the provider, because of the case\n", said)
    assert "a new key made, tested and in use; the old one deleted and refused" in said
    assert re.search(r"a cost alert a day later comes at \d\d,\d{3} USD\n", said)

    assert [attack["threat"] for attack in attacks] == ["T1", "T1", "T1", "T4", "T3", "T2"]
    for attack in attacks:
        assert attack["false_findings"] == 0
        assert attack["victim_requests"] > 0
        assert attack["victim_failures"] == 0
    assert left_over(demo.pid) == []
    assert [path for path in folder.iterdir() if path != file] == []


def test_it_goes_on_until_it_is_told_to_stop(runs: Runs) -> None:
    demo = runs.staying
    assert demo.stdout is not None
    home = next(line for line in demo.stdout if "JACKSTOP_HOME=" in line).split("JACKSTOP_HOME=")[1].split(",")[0]
    shown: list[dict[str, Any]] = json.loads(
        subprocess.check_output(
            [sys.executable, "-P", "-m", "jackstop", "budget", "show", "--json"],
            env=os.environ | {"JACKSTOP_HOME": home},
        )
    )
    assert len(shown) == 6
    os.killpg(demo.pid, signal.SIGINT)  # what a terminal does at Ctrl-C
    rest, _ = demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 0, rest
    assert "Traceback" not in rest
    assert left_over(demo.pid) == []
    assert list(runs.folders[1].iterdir()) == []
