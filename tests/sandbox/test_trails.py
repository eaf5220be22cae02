"""The practice trail: every record reads as an event, what was planted is there, and nothing else looks like it."""

from __future__ import annotations

import gzip
import ipaddress
import json
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest

from jackstop.clock import US_PER_S
from jackstop.events.schema import Event
from jackstop.events.sources import cloudtrail
from jackstop.events.sources.entry import Origin
from jackstop.sandbox import trails
from jackstop.sandbox.trail_campaigns import CAMPAIGNS
from jackstop.sandbox.trail_organisation import ACCOUNTS

UNTIL_US = 1_795_000_000 * US_PER_S
DAYS = 10
NETWORKS = [
    ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, trails.Written]:
    folder = tmp_path_factory.mktemp("trails")
    return folder, trails.write(folder, records=6_000, until_us=UNTIL_US, days=DAYS, thefts=12)


@pytest.fixture(scope="module")
def events(written: tuple[Path, trails.Written]) -> list[Event]:
    origin = Origin("", "trail", 0, UNTIL_US)
    decoder = msgspec.json.Decoder(dict[str, list[cloudtrail.SHAPE]])
    found: list[Event] = []
    for path in sorted(written[0].rglob("*.json.gz")):
        held = decoder.decode(gzip.decompress(path.read_bytes()))
        found += [cloudtrail.read(record, origin) for record in held["Records"]]
    return found


def test_files_are_laid_out_as_cloudtrail_does(written: tuple[Path, trails.Written]) -> None:
    folder, told = written
    paths = list(folder.rglob("*.json.gz"))
    assert len(paths) == told.files
    for path in paths:
        top, account, kind, region, year, month, day, name = path.relative_to(folder).parts
        assert (top, kind) == ("AWSLogs", "CloudTrail")
        assert name.startswith(f"{account}_CloudTrail_{region}_{year}{month}{day}T")
        for record in json.loads(gzip.decompress(path.read_bytes()))["Records"]:
            assert record["eventTime"].startswith(f"{year}-{month}-{day}T")
            assert (record["awsRegion"], record["recipientAccountId"]) == (region, account)


def test_all_is_read_and_within_the_time(events: list[Event], written: tuple[Path, trails.Written]) -> None:
    assert len(events) == written[1].records
    assert len({event.event_id for event in events}) == len(events)
    assert {event.account for event in events} == set(ACCOUNTS)
    first_us = UNTIL_US - (DAYS + 1) * 86_400 * US_PER_S
    assert all(first_us <= event.ts <= UNTIL_US for event in events)
    assert {event.outcome for event in events} == {"ok", "invalid", "denied", "not_found", "throttled"}


def test_addresses_are_those_of_documentation(events: list[Event]) -> None:
    for address in {event.src_ip for event in events if event.src_ip}:
        assert any(ipaddress.ip_address(address) in network for network in NETWORKS)


def test_what_was_planted_is_there(events: list[Event], written: tuple[Path, trails.Written]) -> None:
    planted = written[1].planted
    assert [each.campaign for each in planted] == list(CAMPAIGNS)
    by_principal = defaultdict(list)
    for event in events:
        by_principal[event.principal].append(event)
    for each in planted:
        acts = [event for event in by_principal[each.principal] if each.first_us <= event.ts <= each.last_us + US_PER_S]
        bedrock = [event for event in acts if event.service.startswith("bedrock") or event.owner]
        assert bedrock, each.campaign
        assert {event.account for event in acts} == {each.account}
        # Before, the key did something else, every day.
        earlier = [event for event in by_principal[each.principal] if event.ts < each.first_us]
        assert len({event.ts // (86_400 * US_PER_S) for event in earlier}) >= 3


def test_nobody_else_probes_or_changes_logging(events: list[Event], written: tuple[Path, trails.Written]) -> None:
    stolen = {each.principal for each in written[1].planted}
    for event in events:
        if event.principal in stolen or event.src_net == "203.0.113.0/24":
            continue
        assert event.outcome in {"ok", "denied", "throttled"}
        assert event.action_class not in {"change_logging", "commit_spend", "key_admin", "model_access"}
        assert "probe" not in event.markers


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    texts = []
    for name in ("one", "other"):
        trails.write(tmp_path / name, records=500, until_us=UNTIL_US, days=3, thefts=12, seed=7)
        paths = sorted((tmp_path / name).rglob("*.json.gz"))
        texts.append([(path.relative_to(tmp_path / name), path.read_bytes()) for path in paths])
    assert texts[0] == texts[1]
    assert trails.write(tmp_path / "third", records=500, until_us=UNTIL_US, days=3, seed=8).planted


def test_a_theft_can_be_planted_afterwards_by_a_key_that_was_at_work(tmp_path: Path) -> None:
    before = trails.write(tmp_path, records=20_000, until_us=UNTIL_US, days=DAYS, thefts=0, seed=5)
    assert not before.planted
    there = set(tmp_path.rglob("*.json.gz"))
    planted = trails.plant(tmp_path, "console_calls", UNTIL_US, seed=5)
    added = [json.loads(gzip.decompress(path.read_bytes())) for path in set(tmp_path.rglob("*.json.gz")) - there]
    assert sum(len(each["Records"]) for each in added) == planted.records
    keys = {record["userIdentity"]["accessKeyId"] for each in added for record in each["Records"]}
    assert keys == {planted.key_id}
    assert any(planted.key_id.encode() in gzip.decompress(path.read_bytes()) for path in there)
    assert planted.first_us == UNTIL_US
