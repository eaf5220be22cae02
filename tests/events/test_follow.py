"""What is followed in memory is what the lake will hold."""

import pyarrow.parquet as pq
import pytest

from jackstop.clock import ManualClock
from jackstop.events import follow as following
from jackstop.events.follow import Follow
from jackstop.events.lake import files, write
from jackstop.events.schema import COLUMNS, Event
from jackstop.events.worker import catch_up
from jackstop.gate.journal import START, Flooded, Held, Journal, Recorded
from jackstop.settings import Home

NOON = 1_790_000_000_000_000


class Atlas:
    """Knows where everything is."""

    def enrich(self, event):
        event.country = "DE"


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path / "home")
    made.create()
    return made


@pytest.fixture
def journal(home):
    made = Journal(home.journal, "g0", 1 << 16, 10_000, ManualClock(NOON))
    made.open(0)
    yield made
    made.close()


def record(journal, number, latency_us=700):
    hold = journal.hold(Held(NOON, "key", 5, 7, [(1, 5)]))
    event = Event(ts=NOON + number, key_id="key", request_id=str(number), latency_us=latency_us)
    journal.event(Recorded(event, hold, [(1, 3)]))


def ids(events):
    return [event.request_id for event in events]


def test_events_are_those_of_the_lake(home, journal):
    for number in range(3):
        record(journal, number)
    journal.append(Flooded(NOON, "198.51.100.0/24", 17))
    follow = Follow(home.journal, Atlas())
    follow.begin({})
    follow.read()
    write(home.journal, home.lake, "g0", START, Atlas())
    laked = [row for file in files(home.lake) for row in pq.read_table(file).to_pylist()]
    assert [{name: getattr(event, name) for name in COLUMNS} for event in follow.take()] == laked
    assert (laked[0]["seen_ts"], laked[0]["country"]) == (NOON + 700, "DE")


def test_it_goes_on_from_the_lake_and_from_what_it_read(home, journal):
    record(journal, 0)
    end = write(home.journal, home.lake, "g0", START)
    record(journal, 1)
    follow = Follow(home.journal)
    follow.begin({"g0": end})
    follow.read()
    assert ids(follow.take()) == ["1"]
    follow.read()
    assert follow.take() == []
    record(journal, 2)
    follow.read()
    assert ids(follow.take()) == ["2"]
    assert follow.place("g0") == journal.end


def test_a_new_gate_is_followed_from_its_beginning(home, journal):
    follow = Follow(home.journal)
    follow.begin({"g0": journal.end})
    other = Journal(home.journal, "g1", 1 << 16, 10_000, ManualClock(NOON))
    other.open(1)
    record(other, 7)
    follow.read()
    assert ids(follow.take()) == ["7"]
    other.close()


def test_the_lake_waits_for_what_nobody_took(home, journal, monkeypatch):
    monkeypatch.setattr(following, "MAX_WAITING", 2)
    monkeypatch.setattr(following, "READ_BYTES", 1)
    noted = {"g0": START}

    def ask(command, args):
        if command == "lake positions":
            return [{"instance": name, "segment": at[0], "offset": at[1]} for name, at in noted.items()]
        noted[args["instance"]] = (args["segment"], args["offset"])
        return True

    for number in range(5):
        record(journal, number)
    follow = Follow(home.journal)
    follow.begin({"g0": START})
    catch_up(home, ask, Atlas(), follow)
    assert noted["g0"] == follow.place("g0") < journal.end
    assert ids(follow.take()) == ["0", "1"]
    follow.end()
    catch_up(home, ask, Atlas(), follow)
    assert noted["g0"] == journal.end
