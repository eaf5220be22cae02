"""Waiting for a condition, instead of sleeping for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")
PATIENCE_S = 60.0


def wait_for(what: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
    """The first truthy result of `what`; the test fails when there is none in that time."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    pytest.fail("what was waited for did not happen")
