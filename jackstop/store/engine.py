"""Opening the database: connections, transactions, the change counter and the migrations."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Connection, Engine, Text, cast, create_engine, event, insert, inspect, select, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import StaticPool

from jackstop.errors import UserError
from jackstop.settings import Home, Settings
from jackstop.store.tables import meta

# The newest file in migrations/versions; a test holds the two together.
HEAD = "0003"
BUSY_TIMEOUT_MS = 5_000
_MIGRATIONS = Path(__file__).parent / "migrations"


class Store:
    """One database. Every use of it is a transaction: `with store.begin() as conn`.

    On SQLite there is a single connection and transactions wait for each other: below 3.51.3 a WAL database
    that is written and checkpointed over several connections can be corrupted (sqlite.org/wal.html, "The
    WAL-Reset Bug"), so one process with one connection is the rule for every version.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._lock = threading.Lock()
        self._holder: int | None = None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction, committed at the end with a full sync, rolled back when an exception leaves it.

        Raises RuntimeError when the same thread is inside one already.
        """
        if not self.is_sqlite:
            with self.engine.begin() as conn:
                yield conn
            return
        if self._holder == threading.get_ident():
            raise RuntimeError("a transaction inside a transaction")
        with self._lock:
            self._holder = threading.get_ident()
            try:
                with self.engine.begin() as conn:
                    yield conn
            finally:
                self._holder = None

    def next_seq(self, conn: Connection) -> int:
        """The number of the next change. Its row stays locked until the commit, so numbers commit in order."""
        statement = (
            update(meta)
            .where(meta.c.key == "seq")
            .values(value=cast(cast(meta.c.value, BigInteger) + 1, Text))
            .returning(meta.c.value)
        )
        return int(conn.execute(statement).scalar_one())

    def seq(self, conn: Connection) -> int:
        """The number of the last change, 0 when there was none."""
        return int(conn.execute(select(meta.c.value).where(meta.c.key == "seq")).scalar_one())

    def migrate(self) -> None:
        """Bring the tables to this program's version. Raises UserError for a database of a newer program."""
        with self.begin() as conn:
            version = schema_version(conn)
            if version == HEAD:
                return
            if version is not None and version > HEAD:
                raise UserError(
                    f"the database has version {version} and this program knows {HEAD}",
                    "start the newer program that wrote it",
                )
            _upgrade(conn)
            if conn.execute(select(meta.c.key).where(meta.c.key == "seq")).first() is None:
                conn.execute(insert(meta).values(key="seq", value="0"))

    def require_migrated(self) -> None:
        """Raises UserError when there is no database yet, or one of another version."""
        with self.begin() as conn:
            version = schema_version(conn)
        if version is None:
            raise UserError("there is no database yet", "run `jackstop init` first")
        if version != HEAD:
            raise UserError(
                f"the database has version {version} and this program needs {HEAD}", "start `jackstop up` once"
            )

    def close(self) -> None:
        """Give the connections back; SQLite then folds its write-ahead log into the database file."""
        self.engine.dispose()


def schema_version(conn: Connection) -> str | None:
    """The migration that the database is at, None for an empty one."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    return conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _upgrade(conn: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = conn
    command.upgrade(config, "head")


def open_store(settings: Settings, home: Home) -> Store:
    """Connect to the database that the settings name; empty means SQLite in the home folder.

    Raises UserError when the address is wrong or nobody answers there. Nothing is created or migrated
    beyond SQLite's empty file.
    """
    url = _url(settings.store.url, home)
    try:
        store = Store(_sqlite(url) if url.get_backend_name() == "sqlite" else _postgres(url))
        with store.begin() as conn:
            conn.exec_driver_sql("SELECT 1")
    except OSError as error:
        raise UserError(
            f"the database file {url.database} cannot be opened: {error.strerror}", "check who may write its folder"
        ) from None
    except DBAPIError as error:
        shown = url.set(query={}).render_as_string(hide_password=True)
        raise UserError(
            f"the database {shown} does not answer: {first_line(error)}",
            "check store.url in the settings, and that the database runs and lets this user in",
        ) from None
    return store


def first_line(error: DBAPIError) -> str:
    """What the driver said, without the statement and its parameters."""
    return str(error.orig).strip().split("\n", 1)[0]


def _url(text: str, home: Home) -> URL:
    if not text:
        return URL.create("sqlite", database=str(home.database))
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except ArgumentError:
        backend = ""
    if backend == "sqlite":
        return url
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise UserError(
        "store.url is not the address of a database that Jackstop can use",
        "write it as postgresql://USER:PASSWORD@HOST/NAME, or leave it empty for SQLite",
        2,
    )


def _sqlite(url: URL) -> Engine:
    if url.database not in {None, "", ":memory:"}:
        # Made before SQLite makes it, so that nobody else may ever read it; its side files follow its mode.
        os.close(os.open(str(url.database), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    engine = create_engine(url, poolclass=StaticPool, hide_parameters=True, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        # The driver must not begin transactions by itself: it would leave SELECT outside of them.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _postgres(url: URL) -> Engine:
    # The server's default may be weaker; a lease must be on disk before it is granted.
    return create_engine(
        url,
        pool_size=4,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"options": "-c synchronous_commit=on"},
    )
