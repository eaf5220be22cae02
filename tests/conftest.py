"""What every test stands on: no network beyond loopback, no setting from outside, no deadline on examples."""

from __future__ import annotations

import ipaddress
import os
import sys
from typing import Any

import pytest
from hypothesis import settings

pytest_plugins = ("tests.moto", "tests.postgres")

settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


_LONGEST = (
    "tests/acceptance/test_crashes.py",
    "tests/gate/test_reload.py",
    "tests/acceptance/test_money.py",
    "tests/sandbox/test_demo.py",
    "tests/acceptance/test_cases.py",
)
"""Files that take minutes: begun first, so that nobody waits for one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; otherwise the order stays."""
    items.sort(key=lambda item: item.nodeid.startswith(_LONGEST), reverse=True)


def _is_here(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host in {None, "", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


def _loopback_only(event: str, args: tuple[Any, ...]) -> None:
    """An audit hook: Python itself asks it before a socket connects or a name is looked up."""
    if event == "socket.connect" and isinstance(args[1], tuple) and not _is_here(args[1][0]):
        raise PermissionError(f"a test connects to {args[1][0]}")
    if event == "socket.getaddrinfo" and not _is_here(args[0]):
        try:
            ipaddress.ip_address(str(args[0]))
        except ValueError:
            raise PermissionError(f"a test looks up {args[0]}") from None


sys.addaudithook(_loopback_only)


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No JACKSTOP_… of the person who runs the tests, and a home that is not theirs."""
    for name in list(os.environ):
        if name.startswith("JACKSTOP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("JACKSTOP_HOME", str(tmp_path_factory.getbasetemp() / "no-home"))


@pytest.fixture
def anyio_backend() -> str:
    """Coroutine tests (`pytest.mark.anyio`) run on asyncio alone."""
    return "asyncio"
