"""The detections' tables: the same rows however events came in, and after a restart."""

from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackstop.clock import ManualClock, to_datetime
from jackstop.events import warehouse as warehouses
from jackstop.events.analytics import DAY_US, HOUR_US, MAX_VALUES, MINUTE_US, OTHERS, TABLES
from jackstop.events.follow import Follow
from jackstop.events.hot import KEEP_US as KEEP_HOT_US
from jackstop.events.lake import SCHEMA, write
from jackstop.events.rollups import KEEP_MARKED_US, KEEP_US
from jackstop.events.schema import COLUMNS, Event
from jackstop.events.warehouse import Warehouse
from jackstop.gate.journal import START, Journal, Recorded

NOON = 1_790_000_000_000_000 // DAY_US * DAY_US + DAY_US // 2
ROLLUPS = ("minutes", "sightings")


def event(ts=NOON, key="k1", **fields):
    return Event(
        **{
            "ts": ts,
            "seen_ts": ts + 500_000,
            "key_id": key,
            "owner": f"{key}@example.com",
            "team": "red",
            "decision": "admitted",
            "outcome": "ok",
            "src_net": "198.51.100.0/24",
            "model_asked": "gpt-4o-mini",
            "cost_nusd": 1_000,
            "input_tokens": 10,
            **fields,
        }
    )


def rows(warehouse, table):
    columns = ", ".join(TABLES[table])
    return sorted(warehouse.connection.execute(f"SELECT {columns} FROM {table}").fetchall())


def canonical(warehouse):
    warehouse.settle()
    return [rows(warehouse, table) for table in ROLLUPS]


events_of_two_hours = st.lists(
    st.builds(
        event,
        ts=st.integers(NOON - 2 * HOUR_US, NOON - MINUTE_US),
        key=st.sampled_from(["k1", "k2"]),
        src_net=st.sampled_from(["", "198.51.100.0/24", "203.0.113.0/24"]),
        conversation_fp=st.integers(0, 99).map(str),
        markers=st.sampled_from(["", "probe:list_models", "risu"]),
        decision=st.sampled_from(["admitted", "refused", "would_refuse"]),
        cost_nusd=st.one_of(st.none(), st.integers(0, 10**12)),
    ),
    max_size=60,
)


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(events_of_two_hours, st.lists(st.integers(5, 30), min_size=1), st.randoms())
def test_minutes_and_sightings_are_the_same_however_events_are_split(happened, sizes, random):
    at_once, bit_by_bit = Warehouse(forget=False), Warehouse()
    at_once.feed(happened)
    shuffled = random.sample(happened, len(happened))
    now_us, start = NOON - HOUR_US, 0
    while start < len(shuffled):
        size = sizes[start % len(sizes)]
        bit_by_bit.feed(shuffled[start : start + size])
        now_us += random.choice([0, 5_000_000, MINUTE_US])
        bit_by_bit.tend(min(now_us, NOON))
        start += size
    assert canonical(bit_by_bit) == canonical(at_once)


@pytest.mark.slow
def test_of_too_many_values_the_same_are_kept_whatever_their_order():
    happened = [event(NOON + n, conversation_fp=f"c{n % 150}") for n in range(400)]
    one, other = Warehouse(), Warehouse()
    one.feed(happened)
    for number in range(0, 400, 40):
        other.feed(happened[::-1][number : number + 40])
        other.tend(NOON + number * MINUTE_US // 4)
    found = canonical(one)
    assert found == canonical(other)
    conversations = [row for row in found[1] if row[4] == "conversation"]
    assert len(conversations) == MAX_VALUES + 1
    assert sum(row[8] for row in conversations) == 400
    assert [row[5] for row in conversations].count(OTHERS) == 1


def test_partial_rows_add_up_before_they_are_merged():
    warehouse = Warehouse()
    for second in range(5):
        warehouse.feed([event(NOON + second * 1_000_000)])
    total = "SELECT SUM(requests), SUM(cost_nusd), MIN(first_ts), MAX(last_ts) FROM minutes GROUP BY key_id, minute"
    expected = [(5, 5_000, NOON, NOON + 4_000_000)]
    assert warehouse.connection.execute(total).fetchall() == expected
    warehouse.tend(NOON + MINUTE_US)
    assert warehouse.connection.execute(total).fetchall() == expected
    assert len(rows(warehouse, "minutes")) == 1


def test_what_is_too_old_goes_and_marked_minutes_stay_for_two_days():
    warehouse = Warehouse()
    warehouse.feed([event(NOON), event(NOON, "k2", markers="probe:bad_model"), event(NOON, "k3", decision="refused")])

    def count(table):
        return len(rows(warehouse, table)) if table != "events" else _count_events(warehouse)

    warehouse.tend(NOON + KEEP_HOT_US)
    assert (count("events"), count("minutes")) == (3, 3)
    warehouse.tend(NOON + KEEP_HOT_US + MINUTE_US)
    assert (count("events"), count("minutes")) == (0, 3)
    warehouse.tend(NOON + KEEP_US + HOUR_US)
    assert [row[1] for row in rows(warehouse, "minutes")] == ["k2", "k3"]
    assert count("sightings") == 0
    warehouse.tend(NOON + KEEP_MARKED_US + HOUR_US)
    assert count("minutes") == 0


def _count_events(warehouse):
    return warehouse.connection.execute("SELECT COUNT(*) FROM events").fetchall()[0][0]


def test_a_request_that_took_long_is_kept_from_when_it_was_recorded():
    warehouse = Warehouse()
    warehouse.feed([event(NOON, seen_ts=NOON + 10 * MINUTE_US, latency_us=10 * MINUTE_US)])
    warehouse.tend(NOON + KEEP_HOT_US + 5 * MINUTE_US)
    assert _count_events(warehouse) == 1
    assert warehouse.take_oldest() == NOON
    assert warehouse.take_oldest() is None


def test_events_have_every_column_as_it_was_recorded():
    given_event = event(NOON, stream=True, status=200, asn=3320, extra='{"a":1}', estimated=True)
    warehouse = Warehouse()
    warehouse.feed([given_event])
    (row,) = warehouse.connection.execute(f"SELECT {', '.join(COLUMNS)} FROM events").fetchall()
    assert dict(zip(COLUMNS, row, strict=True)) == {name: getattr(given_event, name) for name in COLUMNS}


def test_other_tables_are_set_as_rows():
    warehouse = Warehouse()
    for table in TABLES:
        assert rows(warehouse, table) == []
    warehouse.set_table("inventory", [{"kind": "key", "id": "k1", "canary": 1}])
    warehouse.set_table("inventory", [{"kind": "key", "id": "k2"}])
    assert rows(warehouse, "inventory") == [("key", "k2", "", "", "", "", 0, 0, 0)]
    with pytest.raises(ValueError, match="events"):
        warehouse.set_table("events", [])


def test_a_new_day_begins_with_what_was_usual_the_day_before():
    warehouse = Warehouse()
    today = NOON - NOON % DAY_US
    known = {"scope": "key", "entity": "k1", "trait": "net", "value": "a"}
    warehouse.begin_day(today, [{"scope": "key", "entity": "k1", "mature": 1}], [known])

    def days(table):
        return warehouse.connection.execute(f"SELECT day, entity FROM {table} ORDER BY day").fetchall()

    warehouse.tend(NOON + DAY_US)
    assert days("baselines") == days("known") == [(today, "k1"), (today + DAY_US, "k1")]
    warehouse.begin_day(today + DAY_US, [], [])
    assert days("known") == [(today, "k1")]
    warehouse.tend(NOON + 2 * DAY_US)
    assert days("known") == []


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(events_of_two_hours, st.integers(0, 60), st.booleans())
def test_a_restart_rebuilds_from_lake_and_journal_what_was_there(tmp_path_factory, happened, cut, killed):
    folder = tmp_path_factory.mktemp("restart")
    journal = Journal(folder / "journal", "g0", 1 << 18, 10_000, ManualClock(NOON))
    journal.open(0)
    for number, each in enumerate(happened):
        journal.append(Recorded(each))
        if number == cut:
            laked = write(folder / "journal", folder / "lake", "g0", START)
    if killed:  # the file was written, and its position never noted
        laked = START
    elif len(happened) <= cut:
        laked = write(folder / "journal", folder / "lake", "g0", START)
    follow, restarted = Follow(folder / "journal"), Warehouse()
    follow.begin({"g0": laked})
    restarted.restore(folder / "lake", NOON, {"g0": laked})
    follow.read()
    restarted.feed(follow.take())
    restarted.tend(NOON)
    before = Warehouse()
    before.feed(happened)
    before.tend(NOON)
    assert canonical(restarted) == canonical(before)
    ids = "SELECT COUNT(*), COUNT(DISTINCT event_id) FROM events"
    ((count, distinct),) = restarted.connection.execute(ids).fetchall()
    assert count == distinct
    follow.end()
    journal.close()


def put(lake, name, events):
    folder = lake / f"date={to_datetime(events[0].ts):%Y-%m-%d}"
    folder.mkdir(exist_ok=True)
    columns = {column: [getattr(each, column) for each in events] for column in COLUMNS}
    pq.write_table(pa.table(columns, schema=SCHEMA), folder / f"{name}.parquet")


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_files_of_any_size_are_rebuilt_into_the_same_rows(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(warehouses, "_RESTORED_ROWS", at_once)
    happened = [
        event(NOON - n * 7 * MINUTE_US, f"k{n % 3}", conversation_fp=f"c{n % 5}", event_id=f"g0-0-{n}")
        for n in range(20)
    ]
    for number, (start, end) in enumerate(pairwise([0, 1, 3, 10, 20])):
        put(tmp_path, f"g0-0-{number}", happened[start:end])
    restarted, before = Warehouse(), Warehouse()
    restarted.restore(tmp_path, NOON, {})
    before.feed(happened)
    before.tend(NOON)
    assert canonical(restarted) == canonical(before)
    assert _count_events(restarted) == 3


def test_restored_marked_minutes_and_recent_events(tmp_path):
    happened = [
        event(NOON - DAY_US, "k1", event_id="g0-0-16", markers="probe:list_models"),
        event(NOON - DAY_US, "k2", event_id="g0-0-20"),
        event(NOON - MINUTE_US, "k3", event_id="g0-0-30"),
    ]
    for each in happened:
        put(tmp_path, each.event_id, [each])
    warehouse = Warehouse()
    warehouse.restore(tmp_path, NOON, {})
    assert [row[1] for row in rows(warehouse, "minutes")] == ["k1", "k3"]
    assert _count_events(warehouse) == 1
