"""A store with its vault, for tests that run commands as control runs them."""

from __future__ import annotations

from typing import Any

from jackstop.clock import ManualClock
from jackstop.control.commands import Context, Live, run
from jackstop.control.protocol import Reply
from jackstop.errors import UserError
from jackstop.settings import Home, Settings
from jackstop.store.engine import Store
from jackstop.vault.kek import FileKek, open_vault

NOON_US = 1_795_435_200_000_000  # 2026-11-23T12:00:00Z


class Bench:
    """Commands on a store; `live` stands for the running system."""

    def __init__(self, store: Store, home: Home, settings: Settings) -> None:
        self.clock = ManualClock(NOON_US)
        self.store, self.home, self.settings = store, home, settings
        FileKek(home.kek).create()
        self.vault = open_vault(settings, home)
        self.live: Live | None = None
        self.run("init begin", admin="admin@example.com")

    @property
    def context(self) -> Context:
        return Context(self.store, self.vault, self.settings, self.home, self.clock, "os:1000", self.live)

    def reply(self, command: str, /, **args: Any) -> Reply:
        return run(self.context, command, args)

    def run(self, command: str, /, **args: Any) -> Any:
        reply = self.reply(command, **args)
        if reply.problem:
            raise UserError(reply.problem, reply.remedy, reply.status)
        return reply.result

    def issue(self, **args: Any) -> Any:
        return self.run("key issue", **{"owner": "app@example.com", "name": "app", **args})

    def credential(self, name: str = "main", **args: Any) -> Any:
        options = {"provider": "openai", "secret": "sk-upstream-secret-0123456789", **args}
        return self.run("credential add", name=name, **options)
