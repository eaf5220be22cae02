"""The books out of the lake, and the bounds that are made of them."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.reconcile.books import Books, of_credentials, of_holds
from jackstop.reconcile.bounds import Bounds, Charge
from jackstop.reconcile.compare import Reported, compare
from jackstop.reconcile.material import MINUTE_US, Hold
from tests.reconcile.world import DAY_US, NOON_US, Call, write

USD = 1_000_000_000
BEGIN, END = 100, 160
CHARGES = st.builds(
    lambda first, length, lower, more: Charge(first, first + length, lower, lower + more),
    st.integers(BEGIN - 20, END + 20),
    st.integers(0, 15),
    st.integers(0, 1_000),
    st.integers(0, 1_000),
)
WINDOWS = st.tuples(st.integers(BEGIN, END), st.integers(BEGIN, END)).map(sorted)


@given(st.lists(CHARGES, max_size=30), WINDOWS)
def test_the_upper_bound_is_all_that_touches_a_window(charges, window):
    begin, end = window
    touching = sum(each.upper for each in charges if begin < end and each.first < end and each.last >= begin)
    assert Bounds(charges, BEGIN, END).upper(begin, end) == touching or begin == end


@given(st.lists(CHARGES, max_size=30), WINDOWS)
def test_the_lower_bound_is_never_more_than_what_lies_within(charges, window):
    begin, end = window
    within = sum(each.lower for each in charges if each.first >= begin and each.last < end)
    assert 0 <= Bounds(charges, BEGIN, END).lower(begin, end) <= within


@given(st.lists(st.tuples(st.integers(BEGIN, END - 1), st.integers(0, 10**7)), max_size=20))
def test_charges_that_end_in_time_are_whole_in_the_lower_bound(found):
    charges = [Charge(minute, minute, nusd, nusd) for minute, nusd in found]
    total = sum(nusd for _, nusd in found)
    assert Bounds(charges, BEGIN, END).lower(BEGIN, END) == Bounds(charges, BEGIN, END).upper(BEGIN, END) == total


def test_a_file_is_read_once_and_forgotten_when_it_is_gone(tmp_path):
    write(tmp_path, [Call(NOON_US)])
    books = Books(tmp_path)
    before = books.read(NOON_US - DAY_US, NOON_US)
    (path,) = tmp_path.glob("*/*.parquet")
    held, times = path.read_bytes(), path.stat()
    path.write_bytes(b"")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert books.read(NOON_US - DAY_US, NOON_US) == before
    path.unlink()
    assert books.read(NOON_US - DAY_US, NOON_US) == []
    path.write_bytes(held)
    assert books.read(NOON_US - DAY_US, NOON_US) == before


def test_a_file_that_was_written_again_with_more_is_read_again(tmp_path):
    books = Books(tmp_path)
    write(tmp_path, [Call(NOON_US)])
    assert sum(cell.requests for cell in books.read(NOON_US - DAY_US, NOON_US)) == 1
    write(tmp_path, [Call(NOON_US), Call(NOON_US + 1)])
    assert sum(cell.requests for cell in books.read(NOON_US - DAY_US, NOON_US)) == 2


def test_use_of_the_same_key_under_another_name_is_the_gate_s_too(tmp_path):
    write(tmp_path, [Call(NOON_US, credential="other"), Call(NOON_US, credential="third", key="key_third")])
    cells = Books(tmp_path).read(NOON_US - DAY_US, NOON_US)
    found = of_credentials(cells, {"main"}, NOON_US - DAY_US, ["key_main"])
    assert [cell.credential for cell in found] == ["other"]


def test_what_the_gate_refused_cost_nothing_at_the_provider(tmp_path):
    import msgspec

    from jackstop.events.lake import _write_file, day_of

    event = msgspec.structs.replace(Call(NOON_US).event(0), decision="refused")
    _write_file(tmp_path / f"date={day_of(NOON_US)}", "gate-1-0", [event])
    assert Books(tmp_path).read(NOON_US - DAY_US, NOON_US) == []


def test_an_estimate_is_its_hold_and_may_be_counted_later(tmp_path):
    call = Call(NOON_US, seen=False)
    write(tmp_path, [call, Call(NOON_US)])
    estimated, exact = sorted(Books(tmp_path).read(NOON_US - DAY_US, NOON_US), key=lambda cell: cell.exact)
    assert (estimated.nusd, estimated.tokens.total) == (3 * call.nusd, 0)
    assert (exact.nusd, exact.tokens.output) == (call.nusd, 500)
    assert estimated.first == exact.first
    assert estimated.last >= exact.last + 10


@pytest.mark.parametrize(
    ("state", "first_min", "last_min"), [("under way", -12, 1), ("open", -12, 1), ("tail", -1_450, -9)]
)
def test_a_hold_counts_for_as_long_as_it_may_be_charged(state, first_min, last_min):
    hold = Hold("gate-1-64", NOON_US - 10 * MINUTE_US, "main", "gpt-4o", USD, state)
    (cell,) = of_holds([hold], NOON_US)
    noon = NOON_US // MINUTE_US
    assert (cell.first - noon, cell.last - noon) == (first_min, last_min)
    assert not cell.exact


def test_the_lost_end_of_a_journal_may_be_any_credential_s():
    cells = of_holds([Hold("a-tail-1", NOON_US, "", "", USD, "tail")], NOON_US)
    cells += of_holds([Hold("b", NOON_US, "other", "", USD, "open")], NOON_US)
    assert [cell.credential for cell in of_credentials(cells, {"main"}, NOON_US - DAY_US)] == [""]


# -- comparing --------------------------------------------------------------------------------------------------


def bounds(*charges):
    return Bounds(charges, 0, 3_000)


def test_what_is_within_tolerance_is_fine():
    reported = [Reported(minute, minute + 1, USD // 25) for minute in range(0, 100, 20)]
    assert compare(reported[:1], bounds(), 0).verdict == "fine"
    assert compare(reported, bounds(), 0).verdict == "over"  # together they are not


def test_buckets_before_the_beginning_are_not_looked_at():
    assert compare([Reported(10, 11, USD)], bounds(), 11).verdict == "fine"


def test_windows_that_only_follow_each_other_act():
    def at(*minutes):
        return compare([Reported(minute, minute + 1, USD // 10) for minute in minutes], bounds(), 0)

    assert (at(10).verdict, at(10, 11).verdict) == ("over", "act")
    assert at(10, 40).verdict == "over"
    assert at(10, 15).verdict == "act"  # in each of two times five minutes


def test_two_days_are_no_row_and_yesterday_s_surplus_is_measured_by_yesterday():
    load = Charge(0, 1_439, 1_000 * USD, 1_000 * USD)
    yesterday = Reported(0, 1_440, 1_006 * USD)
    found = compare([yesterday, Reported(1_440, 2_880, USD // 2)], bounds(load), 0)
    assert (found.verdict, found.row) == ("over", 0)
    assert compare([yesterday._replace(nusd=1_011 * USD)], bounds(load), 0).verdict == "act"


def test_the_shadow_of_a_day_is_the_sum_of_what_sticks_out():
    load = [Charge(minute, minute + 3, USD, USD) for minute in range(0, 1_400, 10)]
    reported = [Reported(minute, minute + 1, USD) for minute in range(0, 1_400, 10)]
    reported += [Reported(minute, minute + 1, USD // 2) for minute in range(6, 1_400, 100)]
    found = compare(reported, bounds(*load), 0)
    assert found.shadow == 14 * USD // 2
    assert found.verdict == "act"


def test_one_dollar_is_not_enough_where_a_per_cent_is_more():
    load = [Charge(minute, minute, 10 * USD, 10 * USD) for minute in range(100)]
    reported = [Reported(minute, minute + 1, 10 * USD) for minute in range(100)]
    reported[50] = Reported(50, 51, 15 * USD)
    assert compare(reported, bounds(*load), 0).verdict == "over"
    reported[70] = Reported(70, 71, 16 * USD)
    assert compare(reported, bounds(*load), 0).verdict == "act"
