"""Putting keys, their owners and their limits into the store."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from sqlalchemy import Connection, insert, select

from jackstop.keys import format as key_format
from jackstop.keys.policy import LimitKind, Policy, Unit, Window
from jackstop.secret import Secret
from jackstop.settings import Mode
from jackstop.store.engine import Store
from jackstop.store.tables import keys, limits, people


@dataclass(frozen=True, slots=True)
class LimitSpec:
    """A limit to be made. `mode` None: a default follows the installation's mode, another enforces."""

    kind: LimitKind
    amount: int
    window: Window = "life"
    per_s: int = 60
    is_default: bool = False
    mode: Mode | None = None
    unit: Unit = "requests"


@dataclass(frozen=True, slots=True)
class KeySpec:
    """A key to be issued."""

    owner_id: int
    name: str
    team: str = ""
    policy: Policy = field(default_factory=Policy)
    limits: tuple[LimitSpec, ...] = ()
    expires_us: int | None = None
    canary: bool = False


@dataclass(frozen=True, slots=True)
class Issued:
    """The only moment at which a key is there in clear."""

    id: str
    key: Secret


def issue(conn: Connection, store: Store, pepper: Secret, spec: KeySpec, now_us: int) -> Issued:
    """Draw a key and store its digest, its policy and its limits. The limits come first in the feed, so
    that no gate knows the key without them.
    """
    key_id = key_format.new_id()
    key = key_format.new_key(key_id)
    for limit in spec.limits:
        add_limit(conn, store, f"key:{key_id}", limit)
    conn.execute(
        insert(keys).values(
            id=key_id,
            digest=key_format.digest(pepper.reveal(), key.reveal()),
            retiring=[],
            owner_id=spec.owner_id,
            team=spec.team,
            name=spec.name,
            state="live",
            expires_us=spec.expires_us,
            canary=spec.canary,
            in_case=False,
            throttle_per_min=None,
            policy=msgspec.to_builtins(spec.policy),
            created_us=now_us,
            seq=store.next_seq(conn),
        )
    )
    return Issued(key_id, key)


def add_limit(conn: Connection, store: Store, scope: str, spec: LimitSpec) -> int:
    """Store a limit on a scope; returns its id."""
    statement = insert(limits).values(
        scope=scope,
        kind=spec.kind,
        amount=spec.amount,
        window=spec.window,
        per_s=spec.per_s,
        unit=spec.unit,
        is_default=spec.is_default,
        mode=spec.mode,
        deleted=False,
        seq=store.next_seq(conn),
    )
    return int(conn.execute(statement.returning(limits.c.id)).scalar_one())


def find_person(conn: Connection, email: str) -> int | None:
    """The id of a person or service by address, None when nobody has it."""
    return conn.execute(select(people.c.id).where(people.c.email == email)).scalar()


def add_person(conn: Connection, email: str, role: str, now_us: int) -> int:
    """Store a person or service; returns the id by which everything else refers to it."""
    statement = insert(people).values(email=email, name="", role=role, created_us=now_us)
    return int(conn.execute(statement.returning(people.c.id)).scalar_one())
