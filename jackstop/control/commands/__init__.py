"""The code behind the command line: one module per group, run inside control or, control stopped, under its lock."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from sqlalchemy.exc import DBAPIError

from jackstop.clock import Clock
from jackstop.control.protocol import Reply
from jackstop.errors import UserError
from jackstop.settings import Home, Settings
from jackstop.store.engine import Store, first_line
from jackstop.vault.envelope import Vault

_GROUPS = (
    "addresses",
    "administration",
    "audit",
    "brakes",
    "budget",
    "cases",
    "cost",
    "credential",
    "detections",
    "doctor",
    "events",
    "feeds",
    "findings",
    "init",
    "invitation",
    "key",
    "notify",
    "outbox",
    "people",
    "reconcile",
    "rotation",
    "team",
    "vault",
    "worker",
)
_log = logging.getLogger(__name__)


class Live(Protocol):
    """The running system, as control sees it."""

    def holds(self) -> list[dict[str, Any]]:
        """Requests under way, each with the columns of the table `open_holds`."""
        ...

    def flush(self) -> None:
        """Book what the gates' journals hold by now; returns when that is done."""
        ...

    def status(self) -> dict[str, Any]:
        """Of each gate: `{"gates": [{"slot", "pid", "fresh", "seq", "seen_us"}], "seq": n}`."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a command works on. `actor` is `os:UID`; `live` is None when control is stopped."""

    store: Store
    vault: Vault
    settings: Settings
    home: Home
    clock: Clock
    actor: str
    live: Live | None = None


Function = Callable[[Context, dict[str, Any]], Any]


def actor_of(uid: int) -> str:
    """How the audit log names an operating-system user: by number, which no log need ever forget."""
    return f"os:{uid}"


def own_actor() -> str:
    """The user that runs this process."""
    return actor_of(os.getuid())


def find(name: str) -> Function:
    """The function behind a command such as `key issue`. Raises UserError for a name that there is not."""
    group = name.partition(" ")[0]
    if group in _GROUPS:
        commands: dict[str, Function] = import_module(f"{__name__}.{group}").COMMANDS
        if name in commands:
            return commands[name]
    raise UserError(
        f"control knows no command {name!r}", "restart it: `jackstop reload`, with the program that you call", 2
    )


def names() -> list[str]:
    """Every command there is."""
    found: list[str] = []
    for group in _GROUPS:
        found += import_module(f"{__name__}.{group}").COMMANDS
    return sorted(found)


def run(ctx: Context, name: str, args: dict[str, Any]) -> Reply:
    """Run a command. Never raises: a UserError becomes its problem and remedy, anything else a logged failure."""
    try:
        return Reply(result=find(name)(ctx, args))
    except UserError as error:
        return Reply(problem=error.problem, remedy=error.remedy, status=error.status)
    except DBAPIError as error:
        _log.error("the command %s failed in the database: %s", name, first_line(error))
        problem = f"the database failed: {first_line(error)}"
        return Reply(problem=problem, remedy="check that it runs, and that its disk has room", status=3)
    except Exception:
        _log.exception("the command %s failed", name)
        return Reply(problem=f"the command `{name}` failed inside", remedy=f"see the logs in {ctx.home.logs}", status=3)
