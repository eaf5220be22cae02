"""The lake holds each event of each journal exactly once, whenever its writer is killed."""

import pyarrow.dataset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackstop.clock import US_PER_S, ManualClock
from jackstop.errors import UserError
from jackstop.events.lake import SCHEMA, forget_old, write
from jackstop.events.schema import COLUMNS, Event
from jackstop.events.worker import catch_up
from jackstop.gate.journal import START, Flooded, Held, Journal, Leased, Position, Recorded
from jackstop.settings import Home

NOON = 1_790_000_000_000_000
DAY_US = 86_400 * US_PER_S


class Writer:
    """Journals with a worker that forgets what it has done when it is killed, and the store's note of the position."""

    def __init__(self, folder):
        self.home = Home(folder / "home")
        self.home.create()
        self.journals = {}
        self.noted = {}
        self.killed = False

    def journal(self, instance="g0", segment_bytes=1 << 16):
        if instance not in self.journals:
            journal = Journal(self.home.journal, instance, segment_bytes, 10_000, ManualClock(NOON))
            journal.open(0)
            self.journals[instance] = journal
            self.noted[instance] = START
        return self.journals[instance]

    def add(self, number, instance="g0", ts=NOON):
        journal = self.journal(instance)
        hold = journal.hold(Held(ts, "key", 5, 7, [(1, 5)]))
        journal.append(Leased(1, 1, 1, 5))
        journal.event(Recorded(Event(ts=ts, key_id="key", request_id=f"req_{number}", cost_nusd=3), hold, [(1, 3)]))

    def ask(self, command, args):
        if command == "lake positions":
            return [{"instance": name, "segment": at.segment, "offset": at.offset} for name, at in self.noted.items()]
        assert command == "lake advance"
        if self.killed:
            raise UserError("control is away")
        self.noted[args["instance"]] = Position(args["segment"], args["offset"])
        return True

    def work(self, *, killed=False):
        """Catch up; `killed` between a file's rename and the note of the position."""
        self.killed = killed
        try:
            return catch_up(self.home, self.ask)
        except UserError:
            return -1

    def rows(self):
        dataset = pyarrow.dataset.dataset(self.home.lake, partitioning="hive")
        return dataset.to_table().to_pylist() if dataset.files else []

    def close(self):
        for journal in self.journals.values():
            journal.close()


@pytest.fixture
def writer(tmp_path):
    made = Writer(tmp_path)
    yield made
    made.close()


def test_each_event_is_there_once_with_its_place_as_its_id(writer):
    for number in range(5):
        writer.add(number, f"g{number % 2}")
    assert writer.work() == 2
    assert writer.work() == 0
    writer.add(5)
    writer.work()
    rows = writer.rows()
    assert sorted(row["request_id"] for row in rows) == [f"req_{number}" for number in range(6)]
    assert len({row["event_id"] for row in rows}) == 6
    for row in rows:
        instance, segment, offset = row["event_id"].split("-")
        assert instance == row["gate_id"]
        assert Position(int(segment), int(offset)) < writer.noted[instance]
        assert row["seen_ts"] == row["ts"] == NOON


def test_a_worker_that_is_killed_before_it_notes_its_position_writes_nothing_twice(writer):
    writer.add(0)
    writer.work(killed=True)
    assert [row["request_id"] for row in writer.rows()] == ["req_0"]
    writer.add(1)
    writer.work(killed=True)
    writer.add(2)
    writer.work()
    assert sorted(row["request_id"] for row in writer.rows()) == ["req_0", "req_1", "req_2"]
    assert len(list(writer.home.lake.rglob("*.parquet"))) == 1


@pytest.mark.slow
@settings(max_examples=40)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 2), st.integers(-2, 1)),
            st.tuples(st.just("work"), st.booleans(), st.just(0)),
        ),
        max_size=40,
    )
)
def test_whatever_happens_the_lake_ends_with_what_the_journals_hold(tmp_path_factory, acts):
    writer = Writer(tmp_path_factory.mktemp("lake"))
    added = []
    for act, what, days in acts:
        if act == "add":
            writer.add(len(added), f"g{what}", NOON + days * DAY_US)
            added.append(f"req_{len(added)}")
        else:
            writer.work(killed=what)
    writer.work()
    assert sorted(row["request_id"] for row in writer.rows()) == sorted(added)
    writer.close()


def test_a_batch_over_segments_and_days_lies_in_the_folders_of_its_days(writer):
    journal = writer.journal(segment_bytes=1 << 15)
    for number in range(120):
        if not journal.has_room():
            journal._preallocate()
        writer.add(number, ts=NOON + (number % 3) * DAY_US)
    writer.work()
    days = {folder.name for folder in writer.home.lake.iterdir()}
    assert days == {"date=2026-09-21", "date=2026-09-22", "date=2026-09-23"}
    assert len(writer.rows()) == 120
    assert writer.noted["g0"].segment > 0


def test_unknown_keys_are_counted_by_network(writer):
    writer.journal().append(Flooded(NOON, "198.51.100.0/24", 17))
    writer.work()
    (row,) = writer.rows()
    assert (row["src_net"], row["status"], row["reason"]) == ("198.51.100.0/24", 401, "unauthorized")
    assert row["extra"] == '{"count": 17}'


def test_files_have_every_column_of_the_schema_and_are_for_their_owner(writer):
    writer.add(0)
    writer.work()
    (path,) = writer.home.lake.rglob("*.parquet")
    assert pyarrow.dataset.dataset(path).schema.equals(SCHEMA)
    assert tuple(SCHEMA.names) == COLUMNS
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_a_killed_writer_left_half_written_is_not_seen(writer):
    writer.add(0)
    folder = writer.home.lake / "date=2026-09-21"
    folder.mkdir(mode=0o700)
    (folder / ".g0-0-16.tmp").write_bytes(b"half a file")
    writer.work()
    assert [row["request_id"] for row in writer.rows()] == ["req_0"]
    assert not list(folder.glob(".*"))


def test_nothing_new_writes_nothing(writer):
    writer.journal()
    end = write(writer.home.journal, writer.home.lake, "g0", START)
    assert end > START
    assert write(writer.home.journal, writer.home.lake, "g0", end) == end
    assert write(writer.home.journal, writer.home.lake, "nobody", START) == START
    assert not list(writer.home.lake.iterdir())


def test_days_beyond_the_retention_are_forgotten(writer):
    for days in (0, 1, 179, 180, 181, 400):
        writer.add(days, ts=NOON - days * DAY_US)
    writer.work()
    (writer.home.lake / "notes").mkdir()
    assert forget_old(writer.home.lake, NOON, 180) == 2
    assert sorted(int(row["request_id"][4:]) for row in writer.rows()) == [0, 1, 179, 180]
    assert forget_old(writer.home.lake, NOON, 180) == 0
    assert (writer.home.lake / "notes").exists()
