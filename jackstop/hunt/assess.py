"""A first look: logs and read-only administration keys, whichever there are, become one hunt and a list of keys.

Nothing is changed anywhere and no traffic is routed. A provider's organisation is read into files beside what other
hunts keep, and these are hunted like any log.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from jackstop.clock import Clock
from jackstop.errors import UserError
from jackstop.events.analytics import DAY_US
from jackstop.hunt.keeping import FOLDER, ORGANISATIONS
from jackstop.hunt.report.result import Result
from jackstop.hunt.run import Asked, Hunt
from jackstop.providers import organisations
from jackstop.providers.drivers.driver import Administration
from jackstop.providers.organisations import Gap, HeldKey, Organisation
from jackstop.secret import Secret
from jackstop.settings import Home

Vendor = Literal["openai", "anthropic"]
OLD_DAYS = 90
"""A key that has lived longer, and does not expire by itself, is called old: ninety days is what CIS and AWS advise."""
IDLE_DAYS = 30

NEEDS: Mapping[str, tuple[str, ...]] = {
    "AWS": (
        "a copy of the CloudTrail files, or s3:ListBucket on the bucket and s3:GetObject on AWSLogs/ for s3://… paths",
        "for who called which model with what, data events of bedrock-mantle and model-invocation logs as well",
    ),
    "OpenAI": tuple(f"{part}: {needs}" for part, needs in organisations.OPENAI_NEEDS.items()),
    "Anthropic": tuple(f"{part}: {needs}" for part, needs in organisations.ANTHROPIC_NEEDS.items()),
    "Azure": (
        "the Activity log and the RequestResponse and Audit diagnostic logs, exported to files (Monitoring Reader)",
    ),
    "Google Cloud": ("the audit logs with Data Access of aiplatform and generativelanguage (Private Logs Viewer)",),
}
"""The least that each source needs; nothing here asks for a right to change anything."""


class Account(NamedTuple):
    """An organisation to be read: whose, where, and the key that may read it."""

    vendor: Vendor
    base_url: str
    secret: Secret


class JudgedKey(msgspec.Struct, frozen=True):
    """A key and what is wrong with it; `age_days` and `idle_days` are None where the provider does not say."""

    key: HeldKey
    age_days: int | None
    idle_days: int | None
    notes: tuple[str, ...]


class Assessment(NamedTuple):
    """One first look. Without logs and usage there is no `hunted`."""

    hunted: Result | None
    keys: list[JudgedKey]
    gaps: list[Gap]


def assess(
    paths: Iterable[str],
    accounts: Iterable[Account],
    home: Home,
    clock: Clock,
    *,
    days: int,
    told: Callable[[str], None],
    asked: Asked,
) -> Assessment:
    """Read the organisations' last `days` days, and hunt over them and the files. Raises UserError."""
    from jackstop.hunt.intake.inputs import inputs_of

    folder = _folder(home)
    now_us = clock.now_us()
    files = list(paths)
    keys: list[JudgedKey] = []
    gaps: list[Gap] = []
    for account in accounts:
        told(f"reading the organisation at {account.vendor}")
        found = _read(account, now_us - days * DAY_US, now_us, folder)
        gaps += found.gaps
        keys += [judged(key, now_us) for key in found.keys]
        files += map(str, found.files)
    if not files:
        return Assessment(None, keys, gaps)
    told("hunting over what there is")
    hunt = Hunt(asked, home, clock)
    return Assessment(hunt.run(inputs_of(files)), keys, gaps)


def _folder(home: Home) -> Path:
    folder = home.root / FOLDER / ORGANISATIONS
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made: {error.strerror}", "set JACKSTOP_HOME to a folder of yours"
        ) from None
    return folder


def _read(account: Account, since_us: int, until_us: int, folder: Path) -> Organisation:
    read = organisations.openai if account.vendor == "openai" else organisations.anthropic
    before = os.umask(0o077)
    try:
        return read(Administration(account.vendor, account.base_url, {}, account.secret), since_us, until_us, folder)
    finally:
        os.umask(before)


def judged(key: HeldKey, now_us: int) -> JudgedKey:
    """What is wrong with a key: old, unused, nobody's, or able to do everything."""
    age = None if key.created_us is None else (now_us - key.created_us) // DAY_US
    idle = None if key.last_used_us is None else (now_us - key.last_used_us) // DAY_US
    return JudgedKey(key, age, idle, tuple(_notes(key, age, idle)) if key.state == "active" else ())


def _notes(key: HeldKey, age: int | None, idle: int | None) -> Iterator[str]:
    if key.orphaned:
        yield "its owner has no access any more: end it"
    if age is not None and age > OLD_DAYS and key.expires_us is None:
        yield f"{age} days old and never expires: rotate it"
    if idle is not None and idle > IDLE_DAYS:
        yield f"not used for {idle} days: end it"
    elif key.never_used and age is not None and age > IDLE_DAYS:
        yield "never used: end it"
    if key.kind == "admin key":
        yield "can make other keys: see that few have one"
