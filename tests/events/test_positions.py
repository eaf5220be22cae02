"""How far each journal is in the lake: what the worker asks of control."""

from sqlalchemy import insert, select

from jackstop.events.positions import LAKE_COMMANDS
from jackstop.store.tables import instances


def test_journals_are_listed_until_they_are_gone(store):
    with store.begin() as conn:
        for number, state in enumerate(("closed", "live", "gone")):
            conn.execute(insert(instances).values(id=f"g{number}", state=state, started_us=10 - number))
        assert LAKE_COMMANDS["lake positions"](conn, {}) == [
            {"instance": "g1", "segment": 0, "offset": 0},
            {"instance": "g0", "segment": 0, "offset": 0},
        ]


def test_a_position_moves_alone(store):
    with store.begin() as conn:
        conn.execute(insert(instances).values(id="g0", state="live", started_us=1, segment=3, offset=99))
        assert LAKE_COMMANDS["lake advance"](conn, {"instance": "g0", "segment": 2, "offset": 400})
        row = conn.execute(select(instances)).one()
        assert (row.lake_segment, row.lake_offset, row.segment, row.offset) == (2, 400, 3, 99)
        assert not LAKE_COMMANDS["lake advance"](conn, {"instance": "nobody", "segment": 2, "offset": 400})
