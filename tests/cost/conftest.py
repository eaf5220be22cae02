from __future__ import annotations

import pytest

from jackstop.settings import Home, Settings
from jackstop.store.engine import Store
from tests.control.command_bench import Bench
from tests.cost.spending import Spending


@pytest.fixture
def bench(store: Store, home: Home) -> Bench:
    return Bench(store, home, Settings())


@pytest.fixture
def spending(bench: Bench) -> Spending:
    return Spending(bench)
