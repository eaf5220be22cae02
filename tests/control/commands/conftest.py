from __future__ import annotations

import pytest

from jackstop.settings import Home, Settings
from jackstop.store.engine import Store
from tests.control.command_bench import Bench


@pytest.fixture
def bench(store: Store, home: Home) -> Bench:
    return Bench(store, home, Settings())
