"""Sigma rules in and out: what they mean is what pySigma's own SQL for SQLite finds in the same records."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import yaml
from msgspec.structs import replace

from jackstop.cli.main import main
from jackstop.detections.catalogue import available, shipped
from jackstop.detections.testing import add_events, empty_tables, events_of
from jackstop.errors import UserError
from jackstop.events.schema import Event
from jackstop.hunt.engines.duckdb import DuckEngine
from jackstop.hunt.sigma.exporting import rule_of
from jackstop.hunt.sigma.fields import _AZURE, _CLOUDTRAIL, _GCP
from jackstop.hunt.sigma.importing import Kept, import_files
from jackstop.hunt.sigma.translate import Made, NotSaid, detections_of, files_of
from jackstop.settings import Home
from tests.hunt.logs import document, taken, trail
from tests.hunt.sigma_oracle import Oracle, condition_of, records_in
from tests.shared import shared

HEAD = """title: A rule
id: 3f0f64f1-52ad-4d5b-8f57-5d8d4c1a1b01
description: What it is about
author: Somebody
level: high
tags: [attack.t1562.001, attack.defense-impairment]
falsepositives: [Administrators]
logsource:
  product: aws
  service: cloudtrail
"""
GUARDRAIL = """detection:
  selection:
    eventName: DeleteGuardrail
    eventSource: bedrock.amazonaws.com
  condition: selection
"""
DETECTIONS = {
    "one name": "{s: {eventName: InvokeModel}, condition: s}",
    "case does not matter": "{s: {eventName: INVOKEMODEL}, condition: s}",
    "case does": "{s: {eventName|cased: INVOKEMODEL}, condition: s}",
    "case does, and fits": "{s: {eventName|cased: InvokeModel}, condition: s}",
    "case does in a pattern": "{s: {eventName|cased|startswith: Get}, condition: s}",
    "several": "{s: {eventName: [GetObject, DeleteTrail, StopLogging]}, condition: s}",
    "two fields": "{s: {eventName: CreateUser, eventSource: iam.amazonaws.com}, condition: s}",
    "contains": "{s: {eventName|contains: Policy}, condition: s}",
    "contains all": "{s: {eventName|contains|all: [Attach, Policy]}, condition: s}",
    "starts with": "{s: {eventName|startswith: [Get, List]}, condition: s}",
    "ends with": "{s: {eventName|endswith: Profile}, condition: s}",
    "wildcards": "{s: {eventName: '*User*Poli?y'}, condition: s}",
    "signs of LIKE": "{s: {userAgent|contains: ['_', '%', '!', 'aws_', '100%']}, condition: s}",
    "a quote": """{s: {eventName: "x' OR 'a' LIKE 'a"}, condition: s}""",
    "a quote and a comment": """{s: {userAgent|contains: "' --"}, condition: s}""",
    "a backslash": "{s: {userAgent|contains: 'a\\\\b'}, condition: s}",
    "source with an end": "{s: {eventSource|startswith: iam}, condition: s}",
    "source by its middle": "{s: {eventSource|contains: 's.amazon'}, condition: s}",
    "source by its end": "{s: {eventSource|endswith: 'm.amazonaws.com'}, condition: s}",
    "source without its end": "{s: {eventSource: iam}, condition: s}",
    "not": "{s: {eventSource: ec2.amazonaws.com}, f: {eventName|startswith: Describe}, condition: s and not f}",
    "or": "{a: {eventName: CreateUser}, b: {eventName: DeleteUser}, condition: a or b}",
    "one of": "{sel_a: {eventName: CreateUser}, sel_b: {errorCode: '*'}, condition: 1 of sel_*}",
    "all of": "{sel_a: {eventName: RunInstances}, sel_b: {errorCode: null}, condition: all of sel_*}",
    "all of them": "{a: {eventName|contains: Get}, b: {eventSource: s3.amazonaws.com}, condition: all of them}",
    "no error": "{s: {errorCode: null}, condition: s}",
    "any error": "{s: {errorCode: '*'}, condition: s}",
    "there is an error": "{s: {errorCode|exists: true}, condition: s}",
    "denied": "{s: {errorCode|startswith: [AccessDenied, 'Client.Unauthorized']}, condition: s}",
    "root": "{s: {userIdentity.type: Root}, condition: s}",
    "user": "{s: {userIdentity.type: IAMUser}, condition: s}",
    "role": "{s: {userIdentity.type: AssumedRole}, condition: s}",
    "not a role": "{s: {userIdentity.type: AssumedRole}, condition: not s}",
    "region": "{s: {awsRegion|startswith: us-}, condition: s}",
    "address": "{s: {sourceIPAddress|startswith: '1'}, condition: s}",
    "network": "{s: {sourceIPAddress|cidr: 198.51.96.0/19}, condition: s}",
    "network of a size": "{s: {sourceIPAddress|cidr: [198.51.100.7/32, 203.0.0.0/8]}, condition: s}",
    "from a service": "{s: {sourceIPAddress|endswith: .amazonaws.com}, condition: s}",
    "read only": "{s: {readOnly: true}, condition: s}",
    "key": "{s: {userIdentity.accessKeyId|startswith: ASIA}, condition: s}",
    "maps in a list": "{s: [{eventName: CreateUser}, {eventName: RunInstances, errorCode: null}], condition: s}",
}
PLANTED = [
    trail(1),
    trail(2, eventName="DeleteGuardrail"),
    trail(3, userAgent="aws_cli/100% a\\b!"),
    trail(4, userAgent="plain", errorCode="AccessDenied", readOnly=True),
    trail(5, sourceIPAddress="198.51.127.255", eventName="ListFoundationModels", readOnly=True),
    trail(6, sourceIPAddress="198.51.128.0", userIdentity={"type": "Root", "accountId": "123456789012"}),
    trail(7, sourceIPAddress="cloudformation.amazonaws.com", eventName="CreateUser", eventSource="iam.amazonaws.com"),
    trail(8, sourceIPAddress="203.0.113.9", eventName="AttachUserPolicy", eventSource="iam.amazonaws.com"),
]


def rule(text: str, tmp_path: Path, name: str = "a_rule") -> Path:
    path = tmp_path / f"{name}.yml"
    path.write_text(text, encoding="utf-8")
    return path


def made(text: str, tmp_path: Path) -> Made:
    (found,) = detections_of(rule(text, tmp_path))
    assert isinstance(found, Made), found
    return found


def refused(text: str, tmp_path: Path) -> NotSaid:
    (found,) = detections_of(rule(text, tmp_path))
    assert isinstance(found, NotSaid), found
    return found


class Looked:
    """Records as events in DuckDB, and as they are for the oracle."""

    def __init__(self, engine: DuckEngine, oracle: Oracle) -> None:
        self.engine, self.oracle = engine, oracle

    def found_by(self, detection: Made) -> set[str]:
        return {row[0] for row in self.engine.rows(f"SELECT event_id FROM events WHERE {condition_of(detection)}")}


def looked_at(folder: Path, *logs: Path) -> Looked:
    intake, _ = taken(folder, *logs)
    engine = DuckEngine()
    engine.open(intake.parts, [], [])
    return Looked(engine, Oracle(records_in(logs), _CLOUDTRAIL))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looked]:
    folder = tmp_path_factory.mktemp("planted")
    (folder / "logs").mkdir()
    (folder / "logs" / "trail.json").write_bytes(document(PLANTED))
    looked = looked_at(folder / "corpus", folder / "logs")
    yield looked
    looked.engine.close()


@pytest.fixture(scope="module")
def attacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looked]:
    folders = [shared("data/stratus"), shared("data/invictus_aws")]
    looked = looked_at(tmp_path_factory.mktemp("attacks"), *folders)
    yield looked
    looked.engine.close()


@pytest.mark.parametrize("name", DETECTIONS)
def test_a_rule_finds_the_records_that_it_means(name: str, planted: Looked, tmp_path: Path) -> None:
    text = f"{HEAD}detection: {DETECTIONS[name]}\n"
    assert planted.found_by(made(text, tmp_path)) == planted.oracle.meant_by(text)


@pytest.mark.slow
def test_and_so_it_does_in_the_records_of_attacks(attacks: Looked, tmp_path: Path) -> None:
    found = 0
    for detection in DETECTIONS.values():
        text = f"{HEAD}detection: {detection}\n"
        meant = attacks.oracle.meant_by(text)
        assert attacks.found_by(made(text, tmp_path)) == meant, detection
        found += bool(meant)
    assert found > len(DETECTIONS) // 2


@pytest.mark.parametrize(
    ("detection", "line", "why"),
    [
        (
            "  s:\n    eventName: A\n    requestParameters.userName|contains: x\n  condition: s",
            14,
            "userName is not kept",
        ),
        ("  s:\n    eventName|re: '^Get.*'\n  condition: s", 13, "a regular expression"),
        ("  s:\n    errorMessage: no\n  condition: s", 13, "errorMessage is not kept"),
        ("  s:\n    userIdentity.type: AWSService\n  condition: s", 13, "is not told from others"),
        ("  s:\n    sourceIPAddress|cidr: 2001:db8::/32\n  condition: s", 13, "IPv6"),
        ("  s:\n    userAgent|cidr: 192.0.2.0/24\n  condition: s", 13, "only addresses"),
        ("  s:\n    userAgent|gt: 3\n  condition: s", 13, "a comparison by size"),
        ("  s:\n    userAgent|fieldref: eventName\n  condition: s", 13, "a comparison of two fields"),
        ("  s:\n    userAgent|expand: '%agents%'\n  condition: s", 13, "placeholder"),
        ("  words: [a, b]\n  condition: words", 11, "words anywhere"),
        ("  s:\n    eventName: A\n  condition: s and", 14, "pySigma cannot read it"),
        ("  s:\n    eventName: A\n  condition: s | count() > 5", 14, "pySigma cannot read it"),
    ],
)
def test_what_cannot_be_said_is_refused_with_its_line(detection: str, line: int, why: str, tmp_path: Path) -> None:
    found = refused(f"{HEAD}detection:\n{detection}\n", tmp_path)
    assert why in found.why
    assert found.line == line
    assert found.title == "A rule"


def test_other_log_sources_correlations_and_broken_files_are_refused(tmp_path: Path) -> None:
    windows = HEAD.replace("product: aws", "product: windows").replace("cloudtrail", "security")
    assert (refused(windows + GUARDRAIL, tmp_path).line, refused(windows + GUARDRAIL, tmp_path).why[:14]) == (
        8,
        "its log source",
    )
    assert "correlates" in refused("title: c\ncorrelation: {type: event_count, rules: [a]}\n", tmp_path).why
    assert "not YAML" in refused("title: [\n", tmp_path).why
    assert "no rule" in refused("- a\n- b\n", tmp_path).why
    assert refused("title: x\n", tmp_path).why.startswith("pySigma cannot read it")


def test_an_imported_rule_is_a_detection_that_finds(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    done = import_files([rule(HEAD + GUARDRAIL, tmp_path, "Guardrail-gone")], home)
    assert [(type(each), each.name) for each in done if isinstance(each, Kept)] == [(Kept, "guardrail_gone")]
    detection = available(home)["guardrail_gone"]
    about = detection.about
    assert (about.severity, about.attack, about.sources) == ("high", ("T1562.001",), ("cloudtrail",))
    assert about.id == "SIGMA-3f0f64f1-52ad-4d5b-8f57-5d8d4c1a1b01"
    assert "Somebody" in about.references[0]
    connection = empty_tables()
    event = {
        "source": "cloudtrail",
        "service": "bedrock",
        "action": "DeleteGuardrail",
        "account": "1",
        "principal": "p",
    }
    add_events(connection, [Event(ts=7, **event), Event(ts=9, **event), Event(ts=8, **{**event, "source": "gate"})])
    rows = connection.execute(detection.sql).fetchall()
    assert [row[:4] for row in rows] == [("principal:p", 7, 9, 2)]


def test_a_name_that_is_taken_is_refused_and_the_same_rule_is_made_anew(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    path = rule(HEAD + GUARDRAIL, tmp_path, "mine")
    assert isinstance(import_files([path], home)[0], Kept)
    path.write_text(HEAD + GUARDRAIL.replace("DeleteGuardrail", "UpdateGuardrail"), encoding="utf-8")
    assert isinstance(import_files([path], home)[0], Kept)
    assert "updateguardrail" in available(home)["mine"].sql
    path.write_text(HEAD.replace("3f0f", "4f0f") + GUARDRAIL, encoding="utf-8")
    (other,) = import_files([path], home)
    assert isinstance(other, NotSaid)
    assert "another detection" in other.why
    (shipped_one,) = import_files([rule(HEAD + GUARDRAIL, tmp_path, "canary_used")], home)
    assert isinstance(shipped_one, NotSaid)
    assert "comes along" in shipped_one.why


def test_a_detection_of_ones_own_may_not_hide_one_that_comes_along(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "detections"
    folder.mkdir(parents=True)
    for end in (".yaml", ".sql"):
        source = Path(sys.modules["jackstop.detections.catalogue"].__file__ or "").with_name(f"canary_used{end}")
        (folder / f"canary_used{end}").write_bytes(source.read_bytes())
    with pytest.raises(UserError, match="comes along"):
        available(Home(tmp_path / "home"))


def test_the_rest_goes_on_and_the_command_says_how_many(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("JACKSTOP_HOME", str(tmp_path / "home"))
    rules = tmp_path / "rules"
    rules.mkdir()
    rule(HEAD + GUARDRAIL, rules, "good")
    rule(HEAD + GUARDRAIL.replace("eventName", "requestParameters.name"), rules, "bad")
    rule(f"{HEAD}{GUARDRAIL}---\n{HEAD}{GUARDRAIL}", rules, "two")
    assert main(["detections", "import-sigma", str(rules)]) == 3
    out = capsys.readouterr().out
    assert "bad.yml:13: A rule: refused: the field requestParameters.name is not kept" in out
    assert "3 of 4 rules imported" in out
    assert set(available(Home(tmp_path / "home"))) == {*shipped(), "good", "two_1", "two_2"}
    assert main(["detections", "show", "good"]) == 0
    assert "deleteguardrail" in capsys.readouterr().out


def test_printing_keeps_nothing(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("JACKSTOP_HOME", str(tmp_path / "home"))
    assert main(["detections", "import-sigma", "--print", str(rule(HEAD + GUARDRAIL, tmp_path))]) == 0
    assert "FROM events" in capsys.readouterr().out
    assert not (tmp_path / "home").exists()
    assert main(["detections", "import-sigma", str(tmp_path / "none.yml")]) == 2


def test_without_pysigma_it_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "sigma.rule", None)
    with pytest.raises(UserError, match="pySigma") as raised:
        list(detections_of(rule(HEAD + GUARDRAIL, tmp_path)))
    assert "jackstop[sigma]" in raised.value.remedy


def test_files_of_a_folder_are_its_rules(tmp_path: Path) -> None:
    wanted = [rule(HEAD, tmp_path, "a"), rule(HEAD, tmp_path, "b")]
    (tmp_path / "readme.md").write_text("x", encoding="utf-8")
    assert files_of([str(tmp_path)]) == wanted


SINGLE = ("audit_blinded", "brake_removed", "canary_used", "person_added")


@pytest.mark.parametrize("name", SINGLE)
def test_what_we_give_away_comes_back_and_finds_the_same(name: str, tmp_path: Path) -> None:
    detection = shipped()[name]
    rules = [each for each in detections_of(rule(rule_of(detection), tmp_path, name)) if isinstance(each, Made)]
    assert len(rules) == len(list(yaml.safe_load_all(rule_of(detection))))
    connection = empty_tables()
    for example in detection.about.tests:
        # Most tests leave it at the gate, which is as good as any to the SQL.
        add_events(connection, [replace(event, source=detection.about.sources[0]) for event in events_of(example)])
    where = " OR ".join(f"({each.sql.partition('WHERE ')[2].rpartition('GROUP BY')[0]})" for each in rules)
    counted = sum(row[3] for row in connection.execute(detection.sql).fetchall())
    assert counted
    assert _count(connection, where) == counted


def _count(connection: duckdb.DuckDBPyConnection, where: str) -> int:
    row = connection.execute(f"SELECT COUNT(*) FROM events WHERE {where}").fetchone()
    assert row is not None
    return int(row[0])


def test_a_detection_that_counts_says_why_it_is_no_rule() -> None:
    with pytest.raises(UserError, match=r"spend_velocity is no Sigma rule: it reads the tables baselines, minutes"):
        rule_of(shipped()["spend_velocity"])
    with pytest.raises(UserError, match="counts events"):
        rule_of(shipped()["login_guessing"])


@pytest.mark.parametrize("name", sorted({*_CLOUDTRAIL, *_AZURE, *_GCP}))
def test_every_field_is_documented(name: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / "sigma.md").read_text(encoding="utf-8")
    assert f"`{name}`" in text
