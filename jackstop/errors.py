"""The errors that a person meets, and the refusals that a client meets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Reason = Literal[
    "unauthorized",
    "expired",
    "quarantined",
    "revoked",
    "network",
    "provider",
    "endpoint",
    "model",
    "hours",
    "probe",
    "unbounded",
    "unmetered",
    "price",
    "budget",
    "rate",
    "concurrency",
    "lease",
    "stale",
    "journal",
    "overload",
    "malformed",
    "too_large",
    "upstream",
]


ANYONE = "the key's owner or an administrator"
"""Whom a refused client is told to ask where `responses.contact` names nobody; never an owner's name."""


class UserError(Exception):
    """Something that the person at the command line can mend.

    `problem` says what is wrong and where, `remedy` what to do next. `status` is the exit status:
    2 for wrong use, 3 for something that failed.
    """

    def __init__(self, problem: str, remedy: str = "", status: int = 3) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy
        self.status = status


@dataclass(frozen=True, slots=True)
class Refused:
    """Why one request is not forwarded.

    `status` overrides the dialect's usual status where HTTP asks for one of its own (400, 408, 413, 431 …).
    `retry_after_s` is given only where a retry can help. `marker` goes into the event.
    """

    reason: Reason
    message: str
    status: int | None = None
    retry_after_s: int | None = None
    details: dict[str, int | str] = field(default_factory=dict)
    marker: str = ""
