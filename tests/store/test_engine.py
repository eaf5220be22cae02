from __future__ import annotations

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from jackstop.errors import UserError
from jackstop.settings import Home, Settings, StoreSettings
from jackstop.store import engine, tables
from jackstop.store.engine import Store, open_store


def test_the_migrations_make_what_the_tables_say(store: Store) -> None:
    with store.begin() as conn:
        context = MigrationContext.configure(conn, opts={"compare_server_default": False})
        assert compare_metadata(context, tables.metadata) == []


def test_head_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(engine._MIGRATIONS)).get_current_head() == engine.HEAD


def test_migrating_again_changes_nothing(store: Store) -> None:
    with store.begin() as conn:
        store.next_seq(conn)
    store.migrate()
    with store.begin() as conn:
        assert store.seq(conn) == 1


def test_a_database_of_a_newer_program_is_left_alone(store: Store) -> None:
    with store.begin() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UserError, match="9999"):
        store.migrate()
    with pytest.raises(UserError, match="9999"):
        store.require_migrated()


def test_an_empty_database_asks_for_init(home: Home) -> None:
    opened = open_store(Settings(), home)
    with pytest.raises(UserError, match="no database yet"):
        opened.require_migrated()
    opened.close()


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    def fail() -> None:
        with store.begin() as conn:
            store.next_seq(conn)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.begin() as conn:
        assert store.seq(conn) == 0


def test_numbers_of_changes_are_drawn_once_by_many_threads(store: Store) -> None:
    drawn: list[int] = []

    def draw() -> None:
        for _ in range(20):
            with store.begin() as conn:
                drawn.append(store.next_seq(conn))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(drawn) == list(range(1, 81))


def test_a_transaction_inside_a_transaction_is_a_mistake(home: Home) -> None:
    opened = open_store(Settings(), home)
    with opened.begin(), pytest.raises(RuntimeError), opened.begin():
        pass
    opened.close()


def test_sqlite_syncs_every_commit_and_checks_references(home: Home) -> None:
    opened = open_store(Settings(), home)
    with opened.begin() as conn:
        pragmas = [
            conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert pragmas == ["wal", 2, 1]
    assert home.database.stat().st_mode & 0o777 == 0o600
    opened.close()


def _window(store: Store, **values: int) -> None:
    with store.begin() as conn:
        limit = insert(tables.limits).values(
            scope="org", kind="usd", amount=100, window="day", seq=store.next_seq(conn)
        )
        limit_id = conn.execute(limit.returning(tables.limits.c.id)).scalar_one()
        conn.execute(insert(tables.windows).values(limit_id=limit_id, window_us=0, amount=100, **values))


@pytest.mark.parametrize(
    "values",
    [{"settled": 101}, {"leased": 101}, {"settled": 60, "leased": 41}, {"settled": -1}, {"leased": -1}, {"over": -1}],
)
def test_the_books_cannot_hold_more_than_the_limit(store: Store, values: dict[str, int]) -> None:
    with pytest.raises(IntegrityError):
        _window(store, **values)


def test_what_was_admitted_beyond_the_limit_is_on_the_books(store: Store) -> None:
    _window(store, settled=60, leased=45, over=5)
    with pytest.raises(IntegrityError), store.begin() as conn:
        conn.execute(update(tables.windows).values(leased=46))
    with store.begin() as conn:
        assert conn.execute(select(tables.windows.c.leased)).scalar_one() == 45


@pytest.mark.parametrize("url", ["mysql://root@localhost/x", "not a url", "oracle://x"])
def test_a_database_of_another_kind_is_refused(home: Home, url: str) -> None:
    with pytest.raises(UserError, match=r"store\.url"):
        open_store(Settings(store=StoreSettings(url=url)), home)


@pytest.mark.postgres
def test_a_database_that_does_not_answer_is_named_without_its_password(home: Home) -> None:
    url = "postgres://user:distinctive-password@127.0.0.1:1/x"
    with pytest.raises(UserError, match=r"127\.0\.0\.1") as caught:
        open_store(Settings(store=StoreSettings(url=url)), home)
    assert "distinctive-password" not in caught.value.problem
