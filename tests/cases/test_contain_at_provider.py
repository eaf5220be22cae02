"""A credential that is kept at its provider by a driver is ended there, for a case, as a written intent."""

from __future__ import annotations

import pytest

from jackstop.cases.policy import decide
from jackstop.settings import ResponseSettings
from jackstop.store import tables
from tests.cases.desk import Desk
from tests.cases.test_policy import finding

SECRET = "sk-stolen-7f3a9c1d"


@pytest.fixture
def kept(desk: Desk) -> Desk:
    """The desk with one exclusive credential at an administration."""
    desk.credential("main", secret=SECRET, exclusive=True, provider_key_id="key_1")
    desk.run("administration add", name="openai", driver="openai", secret="sk-admin-1")
    desk.run("administration link", name="main", administration="openai", place={"project": "proj_1"})
    return desk


def rotations(desk: Desk) -> list[dict[str, object]]:
    return list(desk.run("rotation list", name="main")["rows"])


def shadow(desk: Desk, response: str = "contain") -> int:
    return desk.find("credential:main", "critical", "shadow_usage", response=response)


def test_arithmetic_acts_by_itself_where_the_settings_say_so(kept: Desk) -> None:
    kept.respond_with(contain="act")
    case = shadow(kept)
    (row,) = rotations(kept)
    assert (row["act"], row["cause"], row["case"], row["state"]) == ("contain", "finding", case, "running")
    assert kept.responses(case) == [("contain", "applied")]
    assert "being ended at its provider" in kept.news()[0]["text"]
    # A new key is made, so that applications notice nothing: the gate goes on with the credential.
    assert kept.run("credential list")["rows"][0]["state"] == "active"
    kept.find("credential:main", "critical", "shadow_usage", response="contain", window=1)
    assert len(rotations(kept)) == 1


@pytest.mark.parametrize("outage", ["approve", "act"])
def test_an_outage_needs_a_setting_of_its_own(kept: Desk, outage: str) -> None:
    kept.run("administration link", name="main", administration="")
    kept.respond_with(contain="act", contain_outage=outage)
    case = shadow(kept)
    assert kept.responses(case) == [("contain", "applied" if outage == "act" else "awaiting")]
    state = kept.run("credential list")["rows"][0]["state"]
    assert state == ("contained" if outage == "act" else "active")


def test_that_setting_alone_contains_nothing(kept: Desk) -> None:
    kept.respond_with(contain="approve", contain_outage="act")
    assert kept.responses(shadow(kept)) == [("contain", "awaiting")]


def test_it_waits_for_approval_otherwise(kept: Desk) -> None:
    case = shadow(kept)
    assert rotations(kept) == []
    assert kept.responses(case) == [("contain", "awaiting")]
    (done,) = kept.run("cases respond", id=case, action="approve")["done"]
    assert done["text"] == "credential main being ended at its provider"
    (row,) = rotations(kept)
    assert (row["act"], row["cause"], row["case"]) == ("contain", "hand", case)


@pytest.mark.parametrize("kept_at", ["", "openai", "anthropic"])
def test_who_is_to_approve_reads_whether_it_is_an_outage(kept: Desk, kept_at: str) -> None:
    if kept_at != "openai":
        kept.run("administration link", name="main", administration="")
    if kept_at == "anthropic":
        kept.run("administration add", name="anthropic", driver="anthropic", secret="sk-ant-admin01-1")
        kept.run("administration link", name="main", administration="anthropic")
    shadow(kept)
    (text,) = [each["text"] for each in kept.news() if each["kind"] == "approval"]
    assert ("outage" in text) == (kept_at != "openai")


def test_other_findings_of_a_credential_never_act_by_themselves() -> None:
    rules = ResponseSettings(contain="act")
    for severity in ("high", "critical"):
        assert decide(finding("credential:main", severity), "enforce", rules).state == "awaiting"


def test_what_is_ended_at_the_provider_cannot_be_released(kept: Desk) -> None:
    kept.respond_with(contain="act")
    case = shadow(kept)
    problem = kept.reply("cases respond", id=case, action="release").problem
    assert "holds nothing that could be released" in problem


def test_no_secret_is_in_the_case(kept: Desk) -> None:
    kept.respond_with(contain="act")
    case = shadow(kept)
    everything = str([kept.rows(table) for table in tables.metadata.tables.values()]) + str(kept.case(case))
    assert SECRET not in everything
    assert "sk-admin-1" not in everything
