"""What was usual before a day: counted right, the same whenever it is made, and taught by nothing that was a case."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackstop.clock import to_datetime
from jackstop.events.analytics import DAY_US, HOUR_US, MINUTE_US
from jackstop.events.baselines import MATURE_DAYS
from jackstop.events.digests import Digests
from jackstop.events.lake import SCHEMA
from jackstop.events.reading import connect
from jackstop.events.schema import COLUMNS, Event
from jackstop.events.upkeep import tidy
from jackstop.events.warehouse import Warehouse, digest_events
from jackstop.events.watch import ramps_of

TODAY = 1_790_000_000_000_000 // DAY_US * DAY_US


def event(days_ago, at_us=12 * HOUR_US, key="k1", **fields):
    ts = TODAY - days_ago * DAY_US + at_us
    owner = {"k1": "a@example.com", "k2": "a@example.com"}.get(key, "b@example.com")
    filled = {"seen_ts": ts, "owner": owner, "team": "red", "decision": "admitted", "cost_nusd": 1_000, **fields}
    return Event(ts=ts, key_id=key, **filled)


def usual_of(events, cases=()):
    days = sorted({each.ts - each.ts % DAY_US for each in events})
    digests = {day: digest_events([each for each in events if each.ts - each.ts % DAY_US == day], day) for day in days}
    warehouse = Warehouse()
    usual = warehouse.learn(TODAY, digests, cases)
    warehouse.close()
    return usual


def baseline(usual, scope="key", entity="k1"):
    return next((row for row in usual.baselines.to_pylist() if (row["scope"], row["entity"]) == (scope, entity)), None)


def known(usual, trait, scope="key", entity="k1"):
    rows = usual.known.to_pylist()
    return [row for row in rows if (row["scope"], row["entity"], row["trait"]) == (scope, entity, trait)]


@pytest.mark.slow
def test_sums_and_quantiles_of_a_week():
    events = [event(day, at_us=hour * HOUR_US, cost_nusd=100 * day) for day in range(1, 7) for hour in (1, 2, 5)]
    events += [event(1, at_us=9 * HOUR_US + n * 1_000_000, cost_nusd=50, input_tokens=9_000) for n in range(10)]
    row = baseline(usual_of(events))
    assert (row["mature"], row["active_days"], row["age_days"], row["idle_days"]) == (1, 6, 6, 0)
    assert (row["requests_10m_max"], row["cost_10m_max_nusd"]) == (10, 600)
    assert (row["cost_hour_max_nusd"], row["cost_day_max_nusd"]) == (600, 1800)
    assert row["cost_day_median_nusd"] == 900
    assert (row["input_max"], row["hours_day_max"]) == (9_000, 4)
    assert row["price_median_nusd"] == 500 * 1_000_000 // 90_000


def test_distinct_values_are_counted_by_the_hour():
    events = [
        event(1, at_us=HOUR_US + n, conversation_fp=f"c{n % 7}", system_fp=f"s{n % 3}", src_net="a") for n in range(30)
    ]
    events += [event(2, at_us=HOUR_US, end_user_fp="u", stop_reason="refusal")]
    row = baseline(usual_of(events))
    assert (row["conversations_hour_max"], row["systems_hour_max"], row["nets_hour_max"]) == (7, 3, 1)
    assert (row["end_users_hour_max"], row["blocked_hour_max"]) == (1, 1)


@pytest.mark.parametrize("days", [MATURE_DAYS - 1, MATURE_DAYS])
def test_a_key_is_mature_from_five_active_days_in_seven_on(days):
    usual = usual_of([event(day + 1) for day in range(days)] + [event(20)])
    assert baseline(usual)["mature"] == int(days >= MATURE_DAYS)
    assert baseline(usual)["age_days"] == 20
    ramps = ramps_of(usual)
    assert ramps == ([["k1", 1_000_000_000]] if days >= MATURE_DAYS else [])


def test_a_ramp_is_three_times_the_most_of_ten_minutes():
    usual = usual_of([event(day, cost_nusd=day * 10**9) for day in range(1, 6)])
    assert ramps_of(usual) == [["k1", 15 * 10**9]]


def test_owners_teams_and_the_organisation_are_sums_of_their_keys():
    usual = usual_of([event(1, key=key) for key in ("k1", "k2", "k3")])
    assert baseline(usual, "owner", "a@example.com")["requests_10m_max"] == 2
    assert baseline(usual, "team", "red")["requests_10m_max"] == 3
    assert baseline(usual, "org", "org")["cost_day_max_nusd"] == 3_000


def test_known_values_of_four_weeks():
    events = [event(day, src_net="n1", model_asked="m1") for day in (1, 3, 28, 29)]
    events += [event(day, key="k2", src_net="n2", src_ip="203.0.113.9", conversation_fp="c") for day in (2, 4)]
    events += [event(1, src_net="once")]
    usual = usual_of(events)
    (net,) = known(usual, "net")
    assert (net["value"], net["first_day"], net["last_day"], net["days"]) == (
        "n1",
        TODAY - 28 * DAY_US,
        TODAY - DAY_US,
        3,
    )
    assert [row["value"] for row in known(usual, "net", "owner", "a@example.com")] == ["n1", "n2"]
    assert {row["trait"] for row in usual.known.to_pylist()} == {"net", "model"}


def test_what_was_there_on_one_day_is_known_from_twenty_requests_on():
    events = [event(1, src_net="few") for _ in range(19)] + [event(1, src_net="many") for _ in range(20)]
    events += [event(1, src_net="refused", decision="refused") for _ in range(40)]
    assert [row["value"] for row in known(usual_of(events), "net")] == ["many"]


def test_what_the_gate_refused_teaches_nothing():
    usual = usual_of(
        [event(day, **how) for day in (1, 2) for how in ({"src_net": "n1"}, {"src_net": "x", "decision": "refused"})]
    )
    assert [row["value"] for row in known(usual, "net")] == ["n1"]
    assert baseline(usual)["requests_10m_max"] == 1


@pytest.mark.slow
def test_a_day_with_a_case_teaches_nothing_about_key_owner_or_organisation():
    events = [event(day, src_net="home", cost_nusd=10) for day in range(1, 7)]
    events += [event(day, src_net="thief", cost_nusd=10**9) for day in (2, 2, 1)]
    events += [event(day, key="k2", src_net="office", cost_nusd=10) for day in (2, 3)]
    noon = TODAY - 2 * DAY_US + 12 * HOUR_US
    usual = usual_of(events, [("k1", noon, noon + HOUR_US)])
    assert [row["value"] for row in known(usual, "net")] == ["home"]
    assert baseline(usual)["active_days"] == 5
    assert baseline(usual, "org", "org")["cost_10m_max_nusd"] == 10**9 + 10
    assert baseline(usual_of(events), "org", "org")["cost_10m_max_nusd"] == 2 * 10**9 + 20
    assert [row["value"] for row in known(usual, "net", "org", "org")] == ["home", "office"]


def test_only_the_most_used_values_of_a_day_are_known():
    events = [event(day, user_agent=f"agent{n}") for n in range(100) for day in (1, 2)]
    events += [event(day, user_agent="agent99") for day in (1, 1, 2, 2)]
    values = [row["value"] for row in known(usual_of(events), "agent")]
    assert len(values) == 64
    assert "agent99" in values


# -- as files ---------------------------------------------------------------------------------------------------------


def put(lake: Path, name: str, events: list[Event]) -> None:
    for day in {to_datetime(each.ts).strftime("%Y-%m-%d") for each in events}:
        here = [each for each in events if to_datetime(each.ts).strftime("%Y-%m-%d") == day]
        folder = lake / f"date={day}"
        folder.mkdir(parents=True, exist_ok=True)
        columns = {column: [getattr(each, column) for each in here] for column in COLUMNS}
        pq.write_table(pa.table(columns, schema=SCHEMA), folder / f"{name}.parquet")


def made(folder: Path, day_us: int = TODAY, cases: tuple[tuple[str, int, int], ...] = ()):
    with connect(256) as connection:
        return Digests(folder / "rollups", folder / "lake").make(connection, day_us, cases)


some_events = st.lists(
    st.builds(
        event,
        days_ago=st.integers(1, 9),
        at_us=st.integers(0, DAY_US - 1),
        key=st.sampled_from(["k1", "k2", "k3"]),
        src_net=st.sampled_from(["", "n1", "n2"]),
        conversation_fp=st.integers(0, 20).map(str),
        cost_nusd=st.one_of(st.none(), st.integers(0, 10**13)),
        input_tokens=st.one_of(st.none(), st.integers(0, 10**6)),
        decision=st.sampled_from(["admitted", "refused"]),
    ),
    min_size=1,
    max_size=25,
)


@pytest.mark.slow
@settings(max_examples=2, deadline=None)
@given(some_events, st.data())
def test_baselines_are_the_same_from_any_files_and_from_memory(tmp_path_factory, events, data):
    folder = tmp_path_factory.mktemp("digests")
    cut = data.draw(st.integers(0, len(events)))
    put(folder / "lake", "g0-0-16", events[:cut])
    made(folder)
    put(folder / "lake", "g0-0-99", events[cut:])
    usual = made(folder)
    assert usual == usual_of(events)
    tidy(folder / "lake", TODAY, {}, 90)
    assert made(folder) == usual
    assert Digests(folder / "rollups", folder / "lake").stored(TODAY) == usual


def test_only_days_that_changed_are_digested_again(tmp_path):
    put(tmp_path / "lake", "g0-0-16", [event(1), event(2)])
    made(tmp_path)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "rollups").glob("date=*/spans.parquet")}
    put(tmp_path / "lake", "g0-0-99", [event(1, at_us=MINUTE_US)])
    made(tmp_path)
    changed = {path.parent.name for path, when in written.items() if path.stat().st_mtime_ns != when}
    assert changed == {f"date={to_datetime(TODAY - DAY_US):%Y-%m-%d}"}


def test_digests_are_for_their_owner(tmp_path):
    put(tmp_path / "lake", "g0-0-16", [event(1)])
    made(tmp_path)
    kept = list((tmp_path / "rollups").glob("*=*/*"))
    assert {file.suffix for file in kept} == {".parquet"}
    assert {file.stat().st_mode & 0o777 for file in kept} == {0o600}


def test_what_was_recorded_after_its_day_belongs_to_no_digest(tmp_path):
    put(tmp_path / "lake", "g0-0-16", [event(1), event(1, at_us=DAY_US - 1, seen_ts=TODAY)])
    assert baseline(made(tmp_path))["requests_10m_max"] == 1


def test_until_a_day_has_its_own_the_latest_before_it_is_there(tmp_path):
    put(tmp_path / "lake", "g0-0-16", [event(1)])
    digests = Digests(tmp_path / "rollups", tmp_path / "lake")
    assert digests.latest(TODAY + DAY_US) is None
    usual = made(tmp_path)
    assert digests.stored(TODAY + DAY_US) is None
    assert digests.latest(TODAY + DAY_US) == usual


def test_a_lake_of_nothing_makes_nothing(tmp_path):
    (tmp_path / "lake").mkdir()
    usual = made(tmp_path)
    assert (usual.baselines.num_rows, usual.known.num_rows) == (0, 0)
