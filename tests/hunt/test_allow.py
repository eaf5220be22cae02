"""What a person said may be left out is left out, counted and told; and nothing without a reason and an end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hunt.conftest import Hunter
from tests.hunt.logs import document, trail

USER = "arn:aws:iam::123456789012:user/prowler-7"


@pytest.fixture
def scanned(logs: Path) -> Path:
    """A scanner looks whether calls are logged."""
    who = {"type": "IAMUser", "arn": USER, "accessKeyId": "AKIASCANNER"}
    act = {"eventName": "GetModelInvocationLoggingConfiguration", "userAgent": "Boto3/1.29.7", "readOnly": True}
    (logs / "trail.json").write_bytes(document([trail(1, userIdentity=who, **act)]))
    return logs


def entry(detection: str, entity: str, until: str = "2999-01-01", reason: str = "our scanner") -> str:
    return f'[[allow]]\ndetection = "{detection}"\nentity = "{entity}"\nreason = "{reason}"\nuntil = {until}\n'


def listed(tmp_path: Path, *entries: str) -> Path:
    path = tmp_path / "allow.toml"
    path.write_text("\n".join(entries), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("detection", "entity", "stays"),
    [
        ("bedrock_logging_recon", "principal:arn:aws:iam::*:user/prowler-*", False),
        ("*", f"principal:{USER}", False),
        ("bedrock_logging_recon", "*", False),
        ("bedrock_logging_recon", "principal:arn:aws:iam::*:user/prowler-", True),
        ("bedrock_logging_recon", "principal:arn.aws.iam..123456789012.user/prowler-7", True),
        ("bedrock_token_probe", f"principal:{USER}", True),
    ],
)
def test_only_what_an_entry_covers_is_left_out_and_it_is_told(
    hunt: Hunter, scanned: Path, tmp_path: Path, detection: str, entity: str, stays: bool
) -> None:
    ran = hunt.json(scanned, "--allow", listed(tmp_path, entry(detection, entity)))
    found = {each["detection"] for each in ran.json["findings"]}
    left = {each["detection"]: each for each in ran.json["left_out"]}
    assert ("bedrock_logging_recon" in found) == stays
    assert ("bedrock_logging_recon" in left) != stays
    if not stays:
        row = left["bedrock_logging_recon"]
        assert (row["reason"], row["until"], row["entity"]) == ("our scanner", "2999-01-01", f"principal:{USER}")


def test_the_home_has_a_list_of_its_own(hunt: Hunter, scanned: Path) -> None:
    hunt.home.mkdir()
    (hunt.home / "hunt-allow.toml").write_text(entry("*", f"principal:{USER}"), encoding="utf-8")
    ran = hunt(scanned)
    assert "No findings" in ran.out
    assert f"(medium) of principal:{USER}: our scanner, until 2999-01-01" in " ".join(ran.out.split())


def test_an_entry_holds_until_the_end_of_its_day_and_then_is_told_and_not_applied(
    hunt: Hunter, scanned: Path, tmp_path: Path
) -> None:
    ran = hunt.json(scanned, "--allow", listed(tmp_path, entry("*", f"principal:{USER}", until="2020-02-29")))
    assert ran.json["findings"]
    assert ran.json["left_out"] == []
    (expired,) = ran.json["expired"]
    assert (expired["entity"], expired["until_us"]) == (f"principal:{USER}", 1_583_020_800_000_000)
    table = " ".join(hunt(scanned, "--allow", tmp_path / "allow.toml").out.split())  # lines break where they may
    assert "have ended, and were not applied" in table
    assert "until 2020-02-29" in table


def test_a_gap_can_be_accepted_by_its_name_alone(hunt: Hunter, scanned: Path, tmp_path: Path) -> None:
    everything = listed(tmp_path, entry("*", "account:*"))
    assert "aws.mantle" in hunt.json(scanned, "--allow", everything).gaps
    ran = hunt.json(scanned, "--allow", listed(tmp_path, entry("gap:aws.mantle", "account:123456789012")))
    assert "aws.mantle" not in ran.gaps
    assert [each["detection"] for each in ran.json["left_out"]] == ["gap:aws.mantle"]
    assert hunt(scanned, "--allow", tmp_path / "allow.toml", "--fail-on", "blind").status == 0
    assert hunt(scanned, "--fail-on", "blind").status == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("this is no TOML", "is not TOML"),
        ("[other]", "holds something else"),
        ('allow = "all"', "holds something else"),
        (entry("*", "x").replace('reason = "our scanner"\n', ""), "entry 1: Object missing required field `reason`"),
        (entry("*", "x").replace("until = 2999-01-01\n", ""), "entry 1: Object missing required field `until`"),
        (entry("*", "x", reason=" "), "entry 1 has no reason"),
        (entry("*", "x", until='"soon"'), "entry 1: Invalid RFC3339"),
        (entry("nonsense", "x"), "there is no detection 'nonsense'"),
        (entry("gap:nonsense", "x"), "there is no detection 'gap:nonsense'"),
        (entry("*", "*"), "entry 1 leaves out everything"),
        (entry("*", "x") + 'note = "y"\n', "entry 1: Object contains unknown field `note`"),
        (entry("*", "x") + entry("nonsense", "y"), "entry 2: there is no detection"),
    ],
)
def test_a_list_that_makes_no_sense_ends_the_hunt_before_it_begins(
    hunt: Hunter, scanned: Path, tmp_path: Path, text: str, told: str
) -> None:
    ran = hunt(scanned, "--allow", listed(tmp_path, text))
    assert (ran.status, ran.out) == (2, "")
    assert f"{tmp_path}/allow.toml" in ran.err
    assert told in ran.err
    assert not (hunt.home / "hunts").exists()


def test_a_moment_stands_for_its_day(hunt: Hunter, scanned: Path, tmp_path: Path) -> None:
    ran = hunt.json(scanned, "--allow", listed(tmp_path, entry("*", "principal:*", until="2999-01-01T10:00:00Z")))
    assert ran.json["left_out"][0]["until"] == "2999-01-01"
