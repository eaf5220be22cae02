"""The practice providers whose audit logs are read, and a worker that reads them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jackstop.settings import Home
from jackstop.store.engine import Store
from tests.events.feed_world import World
from tests.sandbox.practice import Practice, running


@pytest.fixture(scope="module")
def served() -> Iterator[Practice]:
    with running() as practice:
        yield practice


@pytest.fixture
def world(served: Practice, store: Store, home: Home) -> Iterator[World]:
    served.begin()
    home.create()
    made = World(store, home, served)
    yield made
    for each in made.rounds:
        each.close()


@pytest.fixture
def main(world: World) -> World:
    world.administer()
    return world
