"""Logs, traces and specifications that others wrote, beside the checkout; tests that need them skip without."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("JACKSTOP_SHARED") or Path(__file__).parents[2] / "shared")
DATA = SHARED / "data"


def shared(name: str) -> Path:
    """A file or a folder of `../shared`, such as `data/stratus`. Skips the test where it is not."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not in ../shared")
    return path
