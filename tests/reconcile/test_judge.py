"""Whatever the gate has caused is never a surplus, and what it has not is one."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from jackstop.providers.drivers.driver import Bucket
from jackstop.reconcile.books import of_holds
from jackstop.reconcile.judge import judge
from jackstop.reconcile.material import MINUTE_US, Hold, Stored
from tests.reconcile.world import DAY_US, NOON_US, PLACE, S_US, Call, Provider, cells_of, watched

BEGIN_US = NOON_US - 6 * 60 * MINUTE_US
USD = 1_000_000_000


def cells(calls, holds=()):
    return [*cells_of(calls), *of_holds(holds, NOON_US)]


def verdict_of(calls, stored, **fields):
    return judge(watched(**fields), stored, cells(calls), NOON_US)


def theft(count=60, every_s=60, begin_us=NOON_US - 90 * MINUTE_US, **fields):
    """Calls that the gate never saw, half a cent each, or what is asked for."""
    return [Call(begin_us + number * every_s * S_US, **fields) for number in range(count)]


def benign(count=300, every_s=30, **fields):
    return [Call(BEGIN_US + number * every_s * S_US, **fields) for number in range(count)]


# What is asked for is the model's name, with a date or without, or a name that only this organisation knows.
NAMES = [
    ("gpt-4o-2024-08-06", "gpt-4o"),
    ("gpt-4.1-mini-2025-04-14", "gpt-4.1-mini-2025-04-14"),
    ("gpt-6-astra", "deployment"),
    ("our-own-model", ""),
]
CALLS = st.builds(
    lambda names, **fields: Call(model=names[0], asked=names[1], **fields),
    st.sampled_from(NAMES),
    ts=st.integers(BEGIN_US, NOON_US - 10 * MINUTE_US),
    latency_us=st.integers(0, 600 * S_US),
    tokens=st.tuples(*[st.integers(0, 2_000_000)] * 4),
    key=st.sampled_from(["key_main", "key_old", ""]),
    seen=st.booleans(),
    counted=st.floats(0, 1),
    used=st.floats(0, 1),
    skew_us=st.integers(-90 * S_US, 90 * S_US),
)


@settings(max_examples=60)
@given(st.lists(CALLS, max_size=40), st.sampled_from([1, 5, 60]), st.floats(0, 1), st.integers(0, 360))
def test_what_the_gate_caused_is_never_a_surplus(calls, width, shown, minutes):
    for call in calls:
        # A provider knows of the key that was used; the books may not.
        call.key = call.key or "key_main"
    provider = Provider(width).count(calls)
    known = {"keys": ["key_main", "key_old"]}
    books = cells(calls)
    for stored in (
        provider.report(),
        provider.report(shown=shown),
        provider.report(NOON_US - minutes * MINUTE_US),
    ):
        found = judge(watched(**known), stored, books, NOON_US)
        assert found.verdict == "fine", found
        assert found.reported_nusd <= found.upper_nusd
        assert found.finding is None


@given(st.lists(CALLS, min_size=1, max_size=20), st.data())
def test_a_request_is_allowed_for_while_only_its_hold_is_known(calls, data):
    for call in calls:
        call.key, call.seen = "key_main", False
    running = [call for call in calls if data.draw(st.booleans())]
    holds = [
        Hold(str(number), call.ts, "main", call.asked, call.nusd * 3, data.draw(st.sampled_from(["under way", "open"])))
        for number, call in enumerate(running)
    ]
    books = cells([call for call in calls if call not in running], holds)
    assert judge(watched(), Provider().count(calls).report(), books, NOON_US).verdict == "fine"


@given(st.lists(CALLS, max_size=20), st.integers(0, 100))
def test_the_bounds_hold_what_was_caused(calls, minute):
    for call in calls:
        call.key = "key_main"
    inside = [call for call in calls if NOON_US - DAY_US <= call.moment_us < NOON_US]
    found = judge(watched(), Provider().count(calls).report(), cells(calls), NOON_US)
    assert found.lower_nusd <= max(found.reported_nusd, 0) + len(calls)
    assert found.reported_nusd <= found.upper_nusd
    assert found.could_hide_nusd == found.upper_nusd - found.lower_nusd
    assert found.requests == len(inside)


def test_direct_use_of_the_key_is_noticed_and_acts():
    stolen = theft(tokens=(100_000, 0, 0, 50_000))
    found = verdict_of(benign(), Provider().count([*benign(), *stolen]).report())
    assert found.verdict == "act"
    assert found.row >= 2
    assert found.shadow_nusd > 0.9 * sum(call.nusd for call in stolen)
    finding = found.finding
    assert finding.entity == "credential:main"
    assert (finding.severity, finding.response) == ("critical", "contain")
    assert all(isinstance(value, int) for value in finding.evidence.values())
    assert abs(finding.first_seen - stolen[0].ts) <= MINUTE_US
    assert abs(finding.last_seen - stolen[-1].ts) <= 2 * MINUTE_US


def test_one_bucket_beyond_tolerance_alerts():
    stolen = theft(1, tokens=(10_000, 0, 0, 10_000))
    found = verdict_of([], Provider().count(stolen).report())
    assert found.verdict == "over"
    assert (found.finding.severity, found.finding.response) == ("high", "alert")


def test_two_buckets_in_a_row_act():
    stolen = theft(2, tokens=(10_000, 0, 0, 10_000))
    assert verdict_of([], Provider().count(stolen).report()).verdict == "act"


def test_a_day_s_surplus_acts_though_no_bucket_follows_another():
    stolen = theft(10, every_s=600, begin_us=NOON_US - 120 * MINUTE_US, tokens=(10_000, 0, 0, 11_000))
    found = verdict_of([], Provider().count(stolen).report())
    assert (found.verdict, found.row) == ("act", 1)
    assert found.shadow_nusd > USD


def test_a_slow_theft_hides_in_every_minute_and_not_in_the_day():
    load = [Call(NOON_US - DAY_US + number * 10 * S_US) for number in range(8_600)]
    stolen = [Call(NOON_US - DAY_US + number * 900 * S_US, counted=0.5) for number in range(96)]
    found = verdict_of(load, Provider().count([*load, *stolen]).report())
    assert found.verdict == "over"
    assert found.finding.evidence["window_min"] > 1_400


def test_a_theft_with_a_model_that_the_gate_never_uses_hides_behind_nothing():
    stolen = theft(1, model="gpt-4.1-mini-2025-04-14", tokens=(200_000, 0, 0, 10_000))
    load = benign(720, 10, tokens=(50_000, 0, 0, 50_000))
    found = verdict_of(load, Provider().count([*load, *stolen]).report())
    assert found.models == {"gpt-4.1-mini": stolen[0].nusd}


def test_a_finding_keeps_its_name_while_it_grows():
    stolen = theft(tokens=(100_000, 0, 0, 50_000))
    first = verdict_of([], Provider().count(stolen[:5]).report())
    second = verdict_of([], Provider().count(stolen).report(), surplus_us=first.surplus_us)
    assert first.finding.uid == second.finding.uid
    assert second.finding.count > first.finding.count
    assert second.finding.last_seen > first.finding.last_seen


def test_a_theft_that_is_over_grows_no_more():
    stolen = theft(5, begin_us=NOON_US - 300 * MINUTE_US, tokens=(100_000, 0, 0, 50_000))
    load = benign(500)
    short = [call for call in load if call.ts < NOON_US - 200 * MINUTE_US]
    first = verdict_of(short, Provider().count([*short, *stolen]).report())
    second = verdict_of(load, Provider().count([*load, *stolen]).report(), surplus_us=first.surplus_us)
    assert (second.finding.last_seen, second.finding.count) == (first.finding.last_seen, first.finding.count)


def test_a_shared_credential_shows_its_progress_and_no_finding():
    gate, outside = benign(200), [Call(call.ts + S_US) for call in benign(100)]
    found = verdict_of(gate, Provider().count([*gate, *outside]).report(), exclusive=False)
    assert found.finding is None
    assert 60 <= found.progress <= 70


def test_other_keys_of_the_place_are_outside_consumers():
    other = benign(10, key="key_other")
    found = verdict_of(benign(), Provider().count([*benign(), *other]).report())
    assert found.verdict == "fine"
    assert found.outside == {"key_other": 10 * other[0].nusd}


def test_keys_of_another_project_are_nothing_to_it():
    elsewhere = [msgspec.structs.replace(row, place="{}") for row in Provider().count(theft(key="key_main")).report()]
    assert verdict_of([], elsewhere).verdict == "fine"


def test_without_its_id_nothing_is_said_of_a_credential():
    found = verdict_of(benign(), Provider().count(theft()).report(), key="", keys=[])
    assert (found.verdict, found.linked) == ("fine", False)
    assert list(found.outside) == ["key_main"]


def test_an_old_key_in_use_alerts_and_leaves_the_new_one_alone():
    stolen = theft(key="key_old", tokens=(100_000, 0, 0, 50_000))
    load = benign(key="key_new")
    fields = {"key": "key_new", "keys": ["key_new", "key_old"]}
    found = verdict_of(load, Provider().count([*load, *stolen]).report(), **fields)
    assert (found.verdict, found.finding.response) == ("over", "alert")


def test_what_was_used_before_jackstop_had_the_credential_is_nobody_s_theft():
    early = theft(begin_us=NOON_US - 300 * MINUTE_US, tokens=(100_000, 0, 0, 50_000))
    since_us = NOON_US - 200 * MINUTE_US
    assert verdict_of([], Provider().count(early).report(), since_us=since_us).verdict == "fine"


def test_where_keys_are_not_told_apart_a_surplus_contains_nothing():
    stolen = theft(tokens=(100_000, 0, 0, 50_000))
    stored = [
        Stored(row.kind, PLACE, msgspec.structs.replace(row.bucket, provider_key_id=""))
        for row in Provider().count(stolen).report()
    ]
    found = verdict_of([], stored, driver="azure", key="", keys=[])
    assert (found.verdict, found.finding.response) == ("over", "alert")


def test_where_caches_are_not_told_apart_cached_input_counts_as_fresh():
    load = benign(tokens=(1_000, 9_000, 0, 10))
    stored = []
    for row in Provider().count(load).report():
        bucket = row.bucket
        whole = bucket.input_tokens + bucket.cache_read_tokens
        stored.append(
            Stored(
                "usage",
                PLACE,
                msgspec.structs.replace(bucket, provider_key_id="", input_tokens=whole, cache_read_tokens=0),
            )
        )
    assert verdict_of(load, stored, driver="azure").verdict == "fine"
    assert verdict_of(load, stored, driver="openai", keys=[""]).verdict != "fine"


def test_a_deployment_is_priced_as_the_model_that_answers_there():
    load = benign(asked="prod-chat", tokens=(100_000, 0, 0, 1_000))
    provider = Provider().count(load)
    stored = [
        Stored(row.kind, PLACE, msgspec.structs.replace(row.bucket, provider_key_id="", model="prod-chat"))
        for row in provider.report()
    ]
    found = verdict_of(load, stored, driver="azure")
    assert found.verdict == "fine"
    assert found.reported_nusd == sum(call.nusd for call in load)


def test_a_falling_balance_is_compared_with_all_that_was_spent():
    load = benign()
    spans = [
        Stored(
            "balance",
            "{}",
            msgspec.structs.replace(row.bucket, provider_key_id="", model="", cost_nusd=30 * load[0].nusd),
        )
        for row in Provider(15).count(load).report()
    ]
    fields = {"driver": "deepseek", "kind": "balance", "place": "{}", "lag_s": 300, "key": "", "keys": []}
    assert verdict_of(load, spans, **fields).verdict == "fine"
    assert verdict_of(load[:100], spans, **fields).verdict == "over"


def test_use_just_before_the_credential_was_added_is_nobodys_theft_though_clocks_differ() -> None:
    """The provider's clock is 80 s ahead of ours."""
    added_us = NOON_US - 30 * MINUTE_US
    before = [
        Call(added_us - number * 10 * S_US, skew_us=80 * S_US, tokens=(1_000_000, 0, 0, 0)) for number in range(1, 60)
    ]
    stored = Provider(1).count(before).report()
    assert judge(watched(since_us=added_us), stored, [], NOON_US).verdict == "fine"
    later = theft(count=3, every_s=60, begin_us=added_us + 3 * MINUTE_US, tokens=(1_000_000, 0, 0, 0))
    stored = Provider(1).count([*before, *later]).report()
    assert judge(watched(since_us=added_us), stored, [], NOON_US).verdict == "act"


def test_what_a_person_did_with_a_key_before_they_brought_it_is_nobodys_theft() -> None:
    brought_us = NOON_US - 30 * MINUTE_US
    tried = theft(count=10, every_s=10, begin_us=brought_us - 3 * MINUTE_US, tokens=(1_000_000, 0, 0, 0))
    assert verdict_of([], Provider().count(tried).report(), key_since_us=brought_us).verdict == "fine"
    assert verdict_of([], Provider().count(tried).report()).verdict == "act"
    later = theft(count=3, begin_us=brought_us + 3 * MINUTE_US, tokens=(1_000_000, 0, 0, 0))
    stored = Provider().count([*tried, *later]).report()
    assert verdict_of([], stored, key_since_us=brought_us).verdict == "act"


def test_what_was_taken_at_the_end_of_yesterday_is_seen_where_days_are_reported() -> None:
    midnight_us = NOON_US - DAY_US // 2
    load = [Call(midnight_us - hours * 60 * MINUTE_US) for hours in range(1, 24)]
    fields = {"driver": "openrouter", "kind": "costs"}

    def told(nusd):
        bucket = Bucket(midnight_us - DAY_US, DAY_US, "key_main", cost_nusd=nusd)
        return verdict_of(load, [Stored("costs", PLACE, bucket)], **fields)

    assert told(sum(call.nusd for call in load)).verdict == "fine"
    assert told(sum(call.nusd for call in load) + 2 * USD).verdict == "act"
