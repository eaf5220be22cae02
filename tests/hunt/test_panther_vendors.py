"""Panther's sample events of OpenAI's and Anthropic's logs: do both agree where a detection of ours is for the same?

Each event has the verdict of one rule of theirs. Where ours differs, the reason stands beside it; what they tell and we
do not is listed with the reason too, so that nothing of theirs is left out unsaid.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from jackstop.detections.catalogue import shipped
from jackstop.detections.engine import findings_of
from jackstop.detections.testing import add_events, empty_tables
from jackstop.events.sources import UNREADABLE, events_of
from jackstop.events.sources.entry import Origin
from tests.shared import DATA

FOLDER = DATA / "panther"
FILES = {"openai_audit": "OpenAI_Audit.ndjson", "anthropic_activity": "Anthropic_Activity.ndjson"}
ORIGIN = Origin("main", "panther", 0, 1_900_000_000_000_000)

COVERED = {
    "OpenAI.Admin.Role.Assignment": {"console_persistence"},
    "OpenAI.API.Key.Anomalous.Activity": {"console_persistence"},
    "OpenAI.IP.Allowlist.Changes": {"brake_removed"},
    "OpenAI.SCIM.Configuration.Change": {"brake_removed"},
    "Anthropic.Activity.Admin.API.Key.Created": {"console_persistence"},
    "Anthropic.Activity.Service.Key.Created": {"console_persistence"},
    "Anthropic.Activity.Primary.Owner.Transferred": {"console_persistence"},
    "Anthropic.Activity.IP.Restriction.Deleted": {"brake_removed"},
    "Anthropic.Activity.SSO.Disabled": {"brake_removed"},
    "Anthropic.Activity.Spend.Limit.Deleted": {"brake_removed"},
}
"""Their rules, and the detection of ours that is for the same."""

DIFFER = {
    "IP allowlist created - Alert MEDIUM": "a brake that was put on; theirs tells every change",
    "IP allowlist activated - Alert MEDIUM": "the same",
    "SCIM enabled - Alert MEDIUM": "the same: whoever it lets in is told by person_added",
}
"""Tests of theirs on which we say otherwise, and why."""

NOT_COVERED = {
    "OpenAI.Login.Success": "a sign-in is no finding; a new network of who administers is (admin_from_new_network)",
    "OpenAI.Login.Failed": "one that fails is no finding; five and then one that succeeds are (login_guessing)",
    "OpenAI.CredentialStuffing": "the same: theirs tells each event and counts to five outside of the rule",
    "Anthropic.Activity.SSO.Login.Failed": "the same, and these entries name nobody",
    "Anthropic.Activity.Admin.API.Key.Deleted": "a key less gives nobody more; it may be an answer to a theft",
    "Anthropic.Activity.Service.Key.Revoked": "the same",
    "Anthropic.Activity.Org.User.Deleted": "the same, of people",
    "Anthropic.Activity.Role.Granted": "their sample is a reader's role in one chat; an organisation's are told",
    "Anthropic.Activity.Artifact.Shared.Publicly": "what people share in the chat is not about API credentials",
    "Anthropic.Activity.Excessive.Chat.Access.Failures": "the same",
    "Anthropic.Activity.Integration.Connected": "the same",
    "Anthropic.Activity.MCP.Server.Created": "the same",
    "Anthropic.Activity.MCP.Server.Deleted": "the same",
    "Anthropic.Activity.Organization.Settings.Updated": "settings are content to us; logging is told (audit_blinded)",
}
"""Their rules that no detection of ours is for, and why."""


def samples() -> list[tuple[str, dict[str, Any]]]:
    if not FOLDER.is_dir():
        return []
    return [
        (source, json.loads(line))
        for source, name in FILES.items()
        for line in (FOLDER / name).read_text().splitlines()
    ]


SAMPLES = samples()
pytestmark = pytest.mark.skipif(not SAMPLES, reason="panther's samples are not there")


def told(source: str, log: dict[str, Any]) -> set[str]:
    """The detections that find something in one entry of a log."""
    (event,) = events_of(source, [log], ORIGIN)
    assert event.action != UNREADABLE
    connection = empty_tables()
    add_events(connection, [event])
    wanted = [each for each in shipped().values() if source in each.about.sources]
    return {each.name for each in wanted if findings_of(connection, each)}


@pytest.mark.parametrize(
    ("source", "sample"), SAMPLES, ids=[f"{each['rule_id']}: {each['test']}" for _, each in SAMPLES]
)
def test_both_say_the_same_or_there_is_a_reason(source: str, sample: dict[str, Any]) -> None:
    found = told(source, sample["log"])
    covering = COVERED.get(sample["rule_id"])
    if covering is None:
        assert sample["rule_id"] in NOT_COVERED
        return
    agrees = bool(found & covering) == sample["expected"]
    assert agrees == (sample["test"] not in DIFFER), (sorted(found), sample["expected"])


def test_how_many_agree() -> None:
    counted = Counter(
        "not covered" if each["rule_id"] not in COVERED else "differs" if each["test"] in DIFFER else "agrees"
        for _, each in SAMPLES
    )
    assert counted == {"agrees": 36, "differs": 3, "not covered": 32}
