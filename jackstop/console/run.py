"""How the console's pages reach control."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from jackstop.control.protocol import Reply

Run = Callable[[str, dict[str, Any]], Awaitable[Reply]]
"""Runs one of control's commands on behalf of the console."""
