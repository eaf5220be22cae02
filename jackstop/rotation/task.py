"""One step of a rotation as the worker gets it, and how it ended."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Ending = Literal["done", "later", "failed", "refused"]


class Task(msgspec.Struct, frozen=True):
    """What a worker has to do, with the secrets for it; it comes over a socket that only this user can open.

    `number` tells this giving out from every other; `again` says that somebody has begun this very step before and
    nobody knows how far that got. `admin` is the administration's secret, `fresh` and `old` are the credential's;
    empty where there is none.
    """

    id: int
    uid: str
    credential: str
    step: str
    number: int
    act: str
    again: bool
    provider: str
    base_url: str
    driver: str
    admin_url: str
    options: dict[str, str]
    place: dict[str, str]
    detail: dict[str, Any]
    exclusive: bool
    admin: str = ""
    fresh: str = ""
    old: str = ""
    expires_s: int | None = None
    watch_s: int = 0
    ca: str = ""

    def __repr__(self) -> str:
        return f"Task({self.id}, {self.credential!r}, {self.step!r})"


class Outcome(msgspec.Struct, frozen=True):
    """How a step ended: `done`; `later`, where there is nothing to do but wait; `failed`; or `refused`, where the new
    secret does not work. `detail` is added to the intent's; `fresh` is a secret that was just made.
    """

    ending: Ending
    problem: str = ""
    after_s: int = 0
    detail: dict[str, Any] = {}
    fresh: str = ""

    def __repr__(self) -> str:
        return f"Outcome({self.ending!r}, {self.problem!r})"
