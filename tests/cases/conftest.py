from __future__ import annotations

import pytest

from jackstop.settings import Home
from jackstop.store.engine import Store
from tests.cases.desk import Desk


@pytest.fixture
def desk(store: Store, home: Home) -> Desk:
    return Desk(store, home)
