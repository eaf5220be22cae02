from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jackstop.settings import Home, Settings
from jackstop.store.engine import Store
from tests.certificates import Authority
from tests.control.command_bench import Bench
from tests.notify.receivers import HttpReceiver, http_receiver


@pytest.fixture
def bench(store: Store, home: Home) -> Bench:
    return Bench(store, home, Settings())


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as made:
        yield made


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def certificate(authority: Authority) -> tuple[Path, Path]:
    cert, key, _serial = authority.issue("127.0.0.1", "localhost")
    return cert, key
