"""One running installation for the tests that do not break it."""

import pytest

from tests.acceptance.system import System


@pytest.fixture(scope="session")
def system(tmp_path_factory):
    """Two gates over the sandbox, shared: a test issues keys of its own and leaves everything else alone."""
    running = System(tmp_path_factory.mktemp("system"), workers=2)
    running.set_up().up()
    yield running
    running.close()


@pytest.fixture
def own_system(tmp_path):
    """A function that makes an installation for one test, which may kill and break it."""
    made = []

    def make(**options):
        made.append(System(tmp_path, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
