from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from jackstop.errors import UserError
from jackstop.store.audit import Broken, Checkpoint, Intact, Tag, read_checkpoint, record, verify, write_checkpoint
from jackstop.store.engine import Store
from jackstop.store.tables import audit, meta


def _write(store: Store, count: int = 5) -> None:
    for number in range(count):
        with store.begin() as conn:
            record(conn, 1_000 + number, "os:1000", Tag.KEY_ISSUE, f"key:{number}", {"n": number, "text": "ä\n"})


def test_a_chain_that_nobody_touched_is_whole(store: Store) -> None:
    _write(store)
    outcome = verify(store)
    assert isinstance(outcome, Intact)
    assert outcome.head.seq == 5


def test_an_empty_log_is_broken(store: Store) -> None:
    assert verify(store) == Broken(1, "the log is empty")


def test_the_hash_is_what_the_documentation_says(store: Store) -> None:
    _write(store, 1)
    with store.begin() as conn:
        row = conn.execute(select(audit)).one()._asdict()
    assert row["prev_hash"] == "0" * 64
    claimed = row.pop("hash")
    text = json.dumps(row, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == claimed


def test_a_rolled_back_change_leaves_no_row(store: Store) -> None:
    _write(store, 1)

    def fail() -> None:
        with store.begin() as conn:
            record(conn, 1, "os:0", Tag.KEY_REVOKE, "key:x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert isinstance(verify(store), Intact)


@pytest.mark.parametrize(
    "change", [{"actor": "os:0"}, {"ts_us": 1}, {"tag": "admin:key:revoke"}, {"subject": "key:z"}, {"detail": {"n": 9}}]
)
def test_an_edited_row_shows(store: Store, change: dict[str, Any]) -> None:
    _write(store)
    with store.begin() as conn:
        conn.execute(update(audit).where(audit.c.seq == 3).values(**change))
    assert verify(store) == Broken(3, "the row was changed")


def test_a_deleted_row_shows(store: Store) -> None:
    _write(store)
    with store.begin() as conn:
        conn.execute(delete(audit).where(audit.c.seq == 3))
    assert verify(store) == Broken(3, "rows 3 to 3 are missing")


def test_a_deleted_row_shows_when_the_rest_moves_up(store: Store) -> None:
    _write(store)
    with store.begin() as conn:
        conn.execute(delete(audit).where(audit.c.seq == 3))
        for seq in (4, 5):
            conn.execute(update(audit).where(audit.c.seq == seq).values(seq=seq - 1))
    assert verify(store) == Broken(3, "the row does not follow the one before it")


def test_a_missing_beginning_shows(store: Store) -> None:
    _write(store)
    with store.begin() as conn:
        conn.execute(delete(audit).where(audit.c.seq <= 2))
    assert verify(store) == Broken(1, "rows 1 to 2 are missing")


def test_a_missing_end_shows(store: Store) -> None:
    _write(store)
    with store.begin() as conn:
        conn.execute(delete(audit).where(audit.c.seq >= 4))
    assert isinstance(verify(store), Broken)


def test_two_rows_that_changed_places_show(store: Store) -> None:
    _write(store)
    with store.begin() as conn:
        for old, new in ((2, 99), (3, 2), (99, 3)):
            conn.execute(update(audit).where(audit.c.seq == old).values(seq=new))
    assert verify(store) == Broken(2, "the row does not follow the one before it")


def _truncate(store: Store, last: int) -> None:
    """What someone does who knows the program: take rows from the end, and put the head right."""
    with store.begin() as conn:
        conn.execute(delete(audit).where(audit.c.seq > last))
        row = conn.execute(select(audit).where(audit.c.seq == last)).one()
        conn.execute(update(meta).where(meta.c.key == "audit_head").values(value=f"{last}:{row.hash}"))


def test_a_truncation_that_mends_the_head_shows_against_a_checkpoint(store: Store) -> None:
    _write(store)
    before = verify(store)
    assert isinstance(before, Intact)
    _truncate(store, 3)
    assert isinstance(verify(store), Intact)
    assert isinstance(verify(store, before.head), Broken)


def test_a_rewritten_history_shows_against_a_checkpoint(store: Store) -> None:
    _write(store)
    before = verify(store)
    assert isinstance(before, Intact)
    _truncate(store, 3)
    with store.begin() as conn:
        for _ in range(4):
            record(conn, 7, "os:0", Tag.KEY_REVOKE, "key:other")
    assert isinstance(verify(store), Intact)
    assert verify(store, before.head) == Broken(5, "the row is not the one that the checkpoint remembers")


def test_a_chain_that_went_on_fits_its_checkpoint(store: Store) -> None:
    _write(store)
    before = verify(store)
    assert isinstance(before, Intact)
    _write(store, 2)
    after = verify(store, before.head)
    assert isinstance(after, Intact)
    assert after.head.seq == 7


@given(st.integers(1, 12), st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_changed_character_goes_unseen(store: Store, seq: int, data: st.DataObject) -> None:
    with store.begin() as conn:
        conn.execute(delete(audit))
        conn.execute(delete(meta).where(meta.c.key == "audit_head"))
    _write(store, 12)
    column = data.draw(st.sampled_from(["hash", "prev_hash", "subject", "actor"]))
    with store.begin() as conn:
        text: str = conn.execute(select(audit.c[column]).where(audit.c.seq == seq)).scalar_one()
        place = data.draw(st.integers(0, len(text) - 1))
        other = data.draw(st.sampled_from("0123456789abcdef").filter(lambda char: char != text[place]))
        changed = text[:place] + other + text[place + 1 :]
        conn.execute(update(audit).where(audit.c.seq == seq).values({column: changed}))
    assert isinstance(verify(store), Broken)


def test_a_checkpoint_survives_its_file() -> None:
    checkpoint = Checkpoint(12, "ab" * 32)
    assert read_checkpoint(write_checkpoint(checkpoint)) == checkpoint


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"seq": "x", "hash": ""}', "null"])
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        read_checkpoint(text)


def test_tags_have_a_source_a_subject_and_an_action() -> None:
    assert all(len(tag.value.split(":")) == 3 for tag in Tag)
    assert len({tag.value for tag in Tag}) == len(Tag)


def test_every_tag_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
    assert [tag.value for tag in Tag if f"`{tag.value}`" not in page] == []
