"""The practice providers in a thread, on a clock that tests move, and the administrations of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from jackstop.clock import ManualClock, SystemClock
from jackstop.providers.drivers.driver import Administration
from jackstop.secret import Secret
from tests.sandbox.conftest import Running
from tests.sandbox.practice import served

_ADMIN_KEYS = {
    "openai": "sk-admin-practice-0123456789",
    "anthropic": "sk-ant-admin01-practice-0123456789",
    "openrouter": "sk-or-v1-management-0123456789",
    "xai": "xai-token-management-0123456789",
    "mistral": "mistral-admin-0123456789",
}
_ADMIN_PATHS = {
    "openai": "/openai/v1",
    "anthropic": "/anthropic",
    "openrouter": "/openrouter/api/v1",
    "xai": "/xai",
    "mistral": "/mistral/api/admin",
}
_INFERENCE_PATHS = {"openrouter": "/openrouter/api", "groq": "/groq/openai"}


class Practice(Running):
    """The practice providers, and how to reach the administration of each."""

    def __init__(self, url: str, clock: ManualClock) -> None:
        super().__init__(url)
        self.clock = clock

    def admin(self, driver: str, at: str = "", secret: str = "") -> Administration:
        """A driver's administration here, or behind the address `at`."""
        url = at or self.url + _ADMIN_PATHS[driver]
        return Administration(driver, url, {}, Secret(secret or _ADMIN_KEYS[driver]))

    def base_url(self, driver: str) -> str:
        """What a credential of the driver's provider has as its base URL."""
        return self.url + _INFERENCE_PATHS.get(driver, f"/{driver}")

    def seed(self, provider: str, **fields: str | int) -> dict[str, Any]:
        """A key that the provider knows: its `id` and `secret` among other things."""
        found = self.post("/_sandbox/keys", {"provider": provider, **fields})
        assert "id" in found, found
        return found

    def mode(self, **fields: int) -> None:
        self.post("/_sandbox/mode", fields)


@pytest.fixture(scope="session")
def _served() -> Iterator[Practice]:
    clock = ManualClock(SystemClock().now_us())
    with served(clock) as url:
        yield Practice(url, clock)


@pytest.fixture
def practice(_served: Practice) -> Iterator[Practice]:
    """The practice providers with no keys, an empty bill, and the real time."""
    _served.clock.jump((SystemClock().now_us() - _served.clock.now_us()) / 1_000_000)
    _served.post("/_sandbox/reset")
    yield _served
    _served.close()
