"""The detections' loop: what it asks of control, what it reports, and how it begins anew."""

import threading

import pytest

from jackstop.clock import ManualClock
from jackstop.detections import catalogue
from jackstop.errors import UserError
from jackstop.events import watch as watching
from jackstop.events.analytics import DAY_US
from jackstop.events.baselines import Usual
from jackstop.events.chores import Chores
from jackstop.events.follow import Follow
from jackstop.events.lake import day_of
from jackstop.events.schema import Event
from jackstop.events.warehouse import table_of
from jackstop.events.watch import Round, Watch
from jackstop.events.worker import catch_up
from jackstop.gate.journal import START, Journal, Position, Recorded
from jackstop.settings import Home, Settings
from tests.waiting import wait_for

NOON = 1_790_000_000_000_000 // DAY_US * DAY_US + DAY_US // 2

YAML = """
id: JS-900
title: Three in five minutes
meaning: A key called three times.
severity: low
sources: [gate]
window: 5m
cadence: 1s
attack: []
atlas: []
false_positives: []
what_to_do: []
references: []
tests: []
"""
SQL = """
SELECT 'key:' || key_id AS entity, MIN(ts) AS first_seen, MAX(ts) AS last_seen, COUNT(*) AS count
FROM events WHERE key_id <> '' GROUP BY key_id, ts - mod(ts, 300000000) HAVING COUNT(*) >= 3
"""


class Control:
    """Answers as control would; keeps what it was told."""

    def __init__(self):
        self.positions = {"g0": START}
        self.epoch = 0
        self.away = False
        self.reports = []
        self.ramps = []
        self.failing = []

    def __call__(self, command, args):
        if self.away:
            raise UserError("control is away")
        return getattr(self, command.replace(" ", "_"))(**args)

    def worker_begin(self):
        self.epoch += 1
        return {"epoch": self.epoch}

    def worker_failing(self, epoch, detections):
        self.failing.append(detections)

    def worker_inventory(self, after):
        ids = {"": ["k1"], "k1": ["k2"]}[after]
        return {"rows": [{"kind": "key", "id": key} for key in ids], "after": "k1" if after == "" else None}

    def worker_baselines(self, **args):
        self.ramps.append((args["after"], args["through"], args["ramps"]))
        return {"changed": 0}

    def lake_positions(self):
        return [{"instance": name, "segment": at[0], "offset": at[1]} for name, at in self.positions.items()]

    def lake_advance(self, instance, segment, offset):
        self.positions[instance] = Position(segment, offset)
        return True

    def detections_allowed(self):
        return [{"detection": "*", "entity": "key:quiet", "until_us": None}]

    def findings_recent(self, since_us):
        return []

    def findings_report(self, epoch, findings):
        self.reports.append((epoch, {finding["entity"]: finding["count"] for finding in findings}))
        return {"taken": len(findings), "cases": []}

    def cases_spans(self, since_us):
        return []

    def cost_digest_due(self):
        return {"day_us": None}

    @property
    def told(self):
        return [entity for _, found in self.reports for entity in found]


class Bench:
    def __init__(self, folder):
        self.home, self.clock, self.control = Home(folder / "home"), ManualClock(NOON), Control()
        self.home.create()
        self.journal = Journal(self.home.journal, "g0", 1 << 18, 10_000, self.clock)
        self.journal.open(0)
        self.follow, self.writing = Follow(self.home.journal), threading.Lock()
        self.rounds = []

    def happen(self, key, count=1, ts=NOON):
        for _ in range(count):
            self.journal.append(Recorded(Event(ts=ts, key_id=key, decision="admitted", outcome="ok")))

    def begin(self):
        made = Round(self.home, Settings(), self.control, self.follow, self.clock)
        self.rounds.append(made)
        made.begin(self.writing)
        return made

    def count(self, table):
        ((found,),) = self.rounds[-1].warehouse.connection.execute(f"SELECT COUNT(*) FROM {table}").fetchall()
        return found

    def close(self):
        for made in self.rounds:
            made.close()
        self.follow.end()
        self.journal.close()


@pytest.fixture
def bench(tmp_path, monkeypatch):
    folder = tmp_path / "detections"
    folder.mkdir()
    (folder / "three.yaml").write_text(YAML)
    (folder / "three.sql").write_text(SQL)
    found = catalogue.load(folder)
    monkeypatch.setattr(watching, "shipped", lambda: found)
    made = Bench(tmp_path)
    yield made
    made.close()


def test_what_happened_before_and_after_the_start_is_found_and_reported_once(bench):
    bench.happen("k1", 2)
    catch_up(bench.home, bench.control)
    bench.happen("k1", 1)
    round_ = bench.begin()
    round_.run(None)
    assert bench.control.reports == [(1, {"key:k1": 3})]
    bench.happen("k2", 3)
    bench.happen("quiet", 3)
    bench.clock.advance(1)
    round_.run(None)
    assert bench.control.told == ["key:k1", "key:k2"]
    assert (bench.count("inventory"), bench.count("allow")) == (2, 1)


def test_control_is_told_which_detections_cannot_run(bench, tmp_path, monkeypatch):
    folder = tmp_path / "detections"
    (folder / "three.sql").write_text(SQL.replace("COUNT(*) AS count", "CAST(MIN(key_id) AS BIGINT) AS count"))
    broken = catalogue.load(folder)
    monkeypatch.setattr(watching, "shipped", lambda: broken)
    round_ = bench.begin()
    round_.run(None)
    assert bench.control.failing == [[]]
    bench.happen("k1", 3)
    for _ in range(2):
        bench.clock.advance(1)
        round_.run(None)
    assert bench.control.failing == [[], ["three"]]


def test_a_finding_that_control_did_not_take_is_reported_again(bench):
    round_ = bench.begin()
    round_.run(None)
    bench.happen("k1", 3)
    bench.control.away = True
    bench.clock.advance(1)
    with pytest.raises(UserError):
        round_.run(None)
    bench.control.away = False
    bench.clock.advance(1)
    round_.run(None)
    assert bench.control.told == ["key:k1"]


def test_a_loop_that_was_killed_before_its_report_finds_it_again(bench):
    bench.happen("k1", 3)
    bench.control.findings_report = lambda **_: (_ for _ in ()).throw(UserError("killed"))
    with pytest.raises(UserError):
        bench.begin().run(None)
    del bench.control.findings_report
    bench.follow.end()
    catch_up(bench.home, bench.control)
    bench.begin().run(None)
    assert bench.control.reports == [(2, {"key:k1": 3})]


def test_a_new_day_s_baselines_are_taken_and_its_ramps_sent_in_batches(bench, monkeypatch):
    monkeypatch.setattr(watching, "_RAMPS", 2)
    round_ = bench.begin()
    day_us = NOON - NOON % DAY_US
    mature = {"scope": "key", "day": day_us, "mature": 1, "cost_10m_max_nusd": 10**9}
    baselines = table_of("baselines", [{**mature, "entity": f"k{n}"} for n in range(3)])
    round_.run((day_us, Usual(baselines, table_of("known", []))))
    usd = 3 * 10**9
    assert bench.control.ramps == [("", "k1", [["k0", usd], ["k1", usd]]), ("k1", "", [["k2", usd]])]
    assert bench.count("baselines") == 3


def test_what_was_learned_reaches_control_though_the_loop_failed_meanwhile(bench):
    sent = []

    def take(**args):
        sent.append(args["ramps"])
        if len(sent) == 1:
            raise OSError("the connection broke")

    bench.control.worker_baselines = take
    day_us = NOON - NOON % DAY_US
    mature = {"scope": "key", "day": day_us, "entity": "k1", "mature": 1, "cost_10m_max_nusd": 10**9}
    settled = threading.Event()
    watch = Watch(bench.home, Settings(), bench.control, bench.follow, bench.writing, bench.clock)
    watch.on_round = settled.set
    watch.learn(day_us, Usual(table_of("baselines", [mature]), table_of("known", [])))
    watch.start()
    assert settled.wait(30)
    assert watch.stop()
    assert sent == [[["k1", 3 * 10**9]]] * 2


def test_the_thread_begins_anew_when_control_was_away(bench):
    settled = threading.Event()
    watch = Watch(bench.home, Settings(), bench.control, bench.follow, bench.writing, bench.clock)
    watch.on_round = settled.set
    bench.happen("k1", 3)
    bench.control.away = True
    watch.start()
    bench.control.away = False
    assert settled.wait(30)
    assert watch.stop()
    wait_for(lambda: bench.control.told == ["key:k1"])


def test_the_chores_learn_once_a_day_when_the_lake_has_the_day_before(bench):
    bench.happen("k1", ts=NOON - DAY_US)
    watch = Watch(bench.home, Settings(), bench.control, bench.follow, bench.writing, bench.clock)
    taken = []
    watch.learn = lambda day_us, usual: taken.append((day_us, usual.baselines.num_rows))
    chores = Chores(bench.home, Settings(), bench.control, watch, bench.clock)
    today = NOON - NOON % DAY_US
    chores.written_us = today
    chores.do(NOON)
    assert taken == []
    catch_up(bench.home, bench.control)
    chores.written_us = NOON
    chores.do(NOON)
    chores.do(NOON)
    assert taken == [(today, 2)]
    assert (bench.home.rollups / f"usual={day_of(today)}").is_dir()
