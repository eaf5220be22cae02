"""The blast radius: what the owner of a case's keys made or touched within a day of it, and what lay beside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, or_, select

from jackstop.clock import US_PER_S
from jackstop.keys.policy import Policy
from jackstop.store.tables import audit, credentials, keys, people

NEAR_US = 86_400 * US_PER_S
MOST = 200
_ACTS = ("admin:key:%", "admin:credential:%", "admin:budget:%", "admin:hold:%", "admin:person:%", "admin:team:%")


def radius(conn: Connection, entities: Iterable[str], first_us: int, last_us: int) -> dict[str, Any]:
    """Of the keys among the entities: the owners' other keys, the credentials in reach, and acts within a day."""
    named = [(kind, name) for kind, _, name in (each.partition(":") for each in entities)]
    ids = [name for kind, name in named if kind == "key"]
    people_of = select(people.c.id).where(people.c.email.in_([name for kind, name in named if kind == "owner"]))
    mine = conn.execute(select(keys).where(keys.c.id.in_(ids))).all()
    owners = sorted({row.owner_id for row in mine} | set(conn.execute(people_of).scalars()))
    others = conn.execute(
        select(keys)
        .where(keys.c.owner_id.in_(owners), keys.c.id.not_in(ids))
        .order_by(keys.c.created_us.desc())
        .limit(MOST)
    ).all()
    who = [f"person:{owner}" for owner in owners]
    subjects = {f"key:{row.id}" for row in (*mine, *others)}.union(who)
    return {
        "owners": who,
        "other_keys": [_key(row, mine, first_us, last_us) for row in others],
        "credentials": _credentials(conn, mine),
        "acts": _acts(conn, first_us - NEAR_US, last_us + NEAR_US, subjects, who),
    }


def _key(row: Row[Any], mine: Sequence[Row[Any]], first_us: int, last_us: int) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "team": row.team,
        "state": row.state,
        "made_within_a_day": first_us - NEAR_US <= row.created_us <= last_us + NEAR_US,
        "same_place": row.team in {each.team for each in mine},
    }


def _credentials(conn: Connection, mine: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """The credentials that the keys could make the gate use; the others of their providers lie in the same account."""
    policies = [msgspec.convert(row.policy, Policy) for row in mine]
    found = conn.execute(select(credentials).where(credentials.c.state != "retired").order_by(credentials.c.name)).all()
    return [
        {"name": row.name, "provider": row.provider, "state": row.state}
        for row in found
        if any(_in_reach(policy, row) for policy in policies)
    ]


def _in_reach(policy: Policy, row: Row[Any]) -> bool:
    if policy.credential is not None:
        return bool(policy.credential == row.name)
    return not policy.providers or row.provider in policy.providers


def _acts(
    conn: Connection, since_us: int, until_us: int, subjects: set[str], who: Sequence[str]
) -> list[dict[str, Any]]:
    """Rows of the audit log about these subjects or by these people; the log is in the order of time."""
    first, last = _seq_at(conn, since_us), _seq_at(conn, until_us + 1)
    statement = (
        select(audit)
        .where(audit.c.seq >= first, audit.c.seq < last, or_(*(audit.c.tag.like(each) for each in _ACTS)))
        .order_by(audit.c.seq)
    )
    found = (
        {"ts_us": row.ts_us, "actor": row.actor, "tag": row.tag, "subject": row.subject}
        for row in conn.execute(statement)
        if row.subject in subjects or row.actor in who or row.detail.get("owner") in who
    )
    return list(islice(found, MOST))


def _seq_at(conn: Connection, ts_us: int) -> int:
    """The number of the first audit row at or after a time, found by halving."""
    low, high = 1, int(conn.execute(select(func.max(audit.c.seq))).scalar() or 0) + 1
    while low < high:
        middle = (low + high) // 2
        found = conn.execute(select(audit.c.ts_us).where(audit.c.seq == middle)).scalar_one()
        low, high = (middle + 1, high) if found < ts_us else (low, middle)
    return low
