"""What a command of the command line works with: the home, its settings, and the way to control."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from jackstop.settings import Home, Settings, load


class Session:
    """One run of the command line."""

    def __init__(self, home: Home) -> None:
        self.home = home

    @cached_property
    def settings(self) -> Settings:
        """The settings; read when first asked for. Raises UserError when they are wrong."""
        return load(self.home)

    def call(self, name: str, /, **args: Any) -> Any:
        """Run a command in control, or without it. Raises UserError."""
        from jackstop.control.client import call

        return call(self.home, self.settings, name, args)

    def rows(self, name: str, /, **args: Any) -> Iterator[dict[str, Any]]:
        """All rows of a command that answers in pages."""
        after = None
        while True:
            page = self.call(name, **args, after=after)
            yield from page["rows"]
            after = page.get("after")
            if after is None:
                return
