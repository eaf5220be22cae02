"""Panther's samples of Azure's and Google's logs, event by event: what they say of each, and what we do.

Panther's rules judge one event; ours ask what came before as well. Where both are about the same behaviour the verdicts
are compared, and each that differs stands in `DIFFERENCES` with the reason. Skips where ../shared/data is absent.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from typing import Any, NamedTuple

import msgspec
import pytest
from msgspec.structs import replace

from jackstop.clock import US_PER_S
from jackstop.detections.catalogue import Detection, shipped
from jackstop.detections.engine import findings_of
from jackstop.detections.testing import add_events, kept
from jackstop.events.analytics import HOUR_US
from jackstop.events.schema import Event
from jackstop.events.sources import in_files, source
from jackstop.events.sources.entry import Origin, UnreadableEntry
from tests.shared import shared

ORIGIN = Origin("", "panther", 0, 1_795_435_200 * US_PER_S)
FILES = {"azure_activity": "Azure_MonitorActivity", "gcp_audit": "GCP_AuditLog"}

COVERED = {
    "Azure.MonitorActivity.DiagnosticSettings.Deleted": "azure_safeguard_off",
    "Azure.MonitorActivity.LogAnalyticsWorkspace.Deleted": "azure_safeguard_off",
    "GCP.Log.Bucket.Or.Sink.Deleted": "gcp_logging_narrowed",
    "GCP.Logging.Settings.Modified": "gcp_logging_narrowed",
    "GCP.Logging.Sink.Modified": "gcp_logging_narrowed",
    "GCP.serviceusage.apiKeys.create.Privilege.Escalation": "gcp_key_unrestricted",
    "GCP.Service.Account.or.Keys.Created": "gcp_key_made_and_used",
}
"""Panther's rules that are about what one of our detections is about."""
DIFFERENCES = {
    # Without authorizationInfo Panther's rule cannot see that it was granted. The entry has no error either, and Google
    # writes one for what is refused: the key was made.
    ("GCP.serviceusage.apiKeys.create.Privilege.Escalation", "Log Without authorizationInfo"): True,
    # Panther notes every key and account that is made, at severity low. To make one is work; ours waits for its use
    # from elsewhere. An account without a key opens nothing.
    ("GCP.Service.Account.or.Keys.Created", "Created Service Account Key"): False,
    ("GCP.Service.Account.or.Keys.Created", "Created Service Account"): False,
}
"""Samples on which we say otherwise than Panther, and what we say."""
BESIDE = {
    # A sink is told to leave something out, in a sample that a rule about buckets has for what it is not about.
    ("GCP.Cloud.Storage.Buckets.Modified.Or.Deleted", "other event"): {"gcp_logging_narrowed"},
}
"""Samples of rules that we do not cover, on which one of our detections has something to say all the same."""
NO_ENTRIES = {
    # Nothing but a methodName at the top, or nothing but what Panther adds to an entry.
    **{f"GCP.Firewall.Rule.{done}": 2 for done in ("Created", "Deleted", "Modified")},
    "GCP.K8s.IOC.Activity": 2,
}
"""How many samples of a rule are no entries of an audit log."""
WITHOUT_TIME = {
    # Nobody's clock has "...", which stands there.
    "GCP.compute.instances.create.Privilege.Escalation": 1,
    # Samples that were cut down to what the rule looks at; a LogEntry has a timestamp.
    **{f"GCP.Firewall.Rule.{done}": 1 for done in ("Created", "Deleted", "Modified")},
    "GCP.iam.roles.update.Privilege.Escalation": 2,
    "GCP.SQL.ConfigChanges": 1,
    "GCP.K8s.Pod.Attached.To.Node.Host.Network": 2,
    "GCP.K8s.Pod.Using.Host.PID.Namespace": 2,
}
"""How many samples of a rule have no time, and are set aside."""


class Sample(NamedTuple):
    """One of Panther's tests of a rule."""

    source: str
    rule: str
    test: str
    expected: bool
    log: dict[str, Any]


@cache
def samples(name: str) -> tuple[Sample, ...]:
    path = shared(f"data/panther/{FILES[name]}.ndjson")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return tuple(Sample(name, row["rule_id"], row["test"], row["expected"], row["log"]) for row in rows)


def read(sample: Sample) -> Event | None:
    """The event of a sample, None for one that is set aside."""
    try:
        event: Event = source(sample.source).read(sample.log, ORIGIN)
    except UnreadableEntry:
        return None
    return event


@cache
def mine() -> tuple[Detection, ...]:
    return tuple(each for each in shipped().values() if set(each.about.sources) & set(FILES))


def fired(event: Event, detections: tuple[Detection, ...]) -> set[str]:
    """The detections that find something in one event alone."""
    connection = kept()
    add_events(connection, [event], frozenset())
    return {each.name for each in detections if findings_of(connection, each)}


def test_every_sample_is_read_but_those_that_are_no_entries_or_have_no_time() -> None:
    unclaimed: Counter[str] = Counter()
    unread: Counter[str] = Counter()
    for name in FILES:
        for sample in samples(name):
            if not source(name).claims(sample.log):
                unclaimed[sample.rule] += 1
            elif read(sample) is None:
                unread[sample.rule] += 1
    assert unclaimed == NO_ENTRIES
    assert unread == WITHOUT_TIME


@pytest.mark.parametrize("name", FILES)
def test_no_other_format_claims_one(name: str) -> None:
    others = [each for each in in_files() if each.name != name and "json" in each.forms]
    for sample in samples(name):
        assert not [each.name for each in others if each.claims(sample.log)], sample.test


@pytest.mark.parametrize("rule", COVERED)
def test_our_verdict_is_panther_s_or_the_difference_is_explained(rule: str) -> None:
    chosen = [sample for name in FILES for sample in samples(name) if sample.rule == rule]
    assert chosen
    for sample in chosen:
        event = read(sample)
        assert event is not None
        ours = COVERED[rule] in fired(event, mine())
        assert ours == DIFFERENCES.get((rule, sample.test), sample.expected), sample.test


def test_no_difference_is_listed_that_is_none() -> None:
    known = {(sample.rule, sample.test): sample.expected for name in FILES for sample in samples(name)}
    assert all(known[each] != ours for each, ours in DIFFERENCES.items())


def test_on_other_rules_samples_nothing_is_found_that_is_not_explained() -> None:
    others = [sample for name in FILES for sample in samples(name) if sample.rule not in COVERED]
    events = {}
    for number, sample in enumerate(others):
        event = read(sample) if source(sample.source).claims(sample.log) else None
        if event is not None:
            # Each stands alone: somebody else in another account.
            events[f"a{number}"] = replace(event, account=f"a{number}", principal=f"{event.principal}#{number}")
    connection = kept()
    add_events(connection, list(events.values()), frozenset())
    found: dict[tuple[str, str], set[str]] = {}
    for detection in mine():
        for finding in findings_of(connection, detection):
            sample = others[int(str(finding.evidence["account"])[1:])]
            found.setdefault((sample.rule, sample.test), set()).add(detection.name)
    assert found == BESIDE


def test_the_key_that_panther_sees_made_is_found_when_it_is_used_elsewhere() -> None:
    (sample,) = [each for each in samples("gcp_audit") if each.test == "Created Service Account Key"]
    made = read(sample)
    assert made is not None
    used = replace(made, event_id="use", ts=made.ts + HOUR_US, action_class="inference", target_kind="", change="")
    used = replace(used, provider_key_id=made.target_id, target_id="", src_net="203.0.113.0/24")
    connection = kept()
    add_events(connection, [made, used], frozenset())
    (finding,) = findings_of(connection, shipped()["gcp_key_made_and_used"])
    assert (finding.entity, finding.evidence["network"]) == ("principal:staging@company.io", "203.0.113.0/24")
    assert finding.evidence["provider_key"] == "69049163b190437ab9279b28e8afa24bb5c5b076"


def test_what_samples_hold_of_requests_and_addresses_of_things_is_not_kept() -> None:
    # Signatures in addresses of blobs, queries, policies and the bodies of requests.
    secrets = (
        "SIGNATURE_HERE",
        "ATTACKER_SIG",
        "INTERNAL_SIG",
        "roles/owner",
        "attributeMapping",
        "allowSharedKeyAccess",
    )
    events = [event for name in FILES for sample in samples(name) if (event := read(sample)) is not None]
    stored = msgspec.json.encode(events).decode()
    logs = "".join(json.dumps(sample.log) for name in FILES for sample in samples(name))
    assert all(secret in logs and secret not in stored for secret in secrets)
