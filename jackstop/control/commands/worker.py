"""What the worker asks of control: its epoch, what keys and limits there are, and the ramp allowances of a new day."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import Connection, and_, insert, select, update
from sqlalchemy import Row as DbRow

from jackstop.control.commands import Context
from jackstop.errors import UserError
from jackstop.keys.issue import LimitSpec, add_limit
from jackstop.notify import health
from jackstop.store import tables
from jackstop.store.engine import Store

PAGE_KEYS = 1_000
MOST_RAMPS = 500
RAMP_PER_S = 600
_EPOCH = "worker_epoch"
_HOURS_A_DAY = 24
_BEHIND_KEYS = "key;"
"""Comes after every `key:ID`."""


def begin(ctx: Context, _args: dict[str, Any]) -> dict[str, Any]:
    """A worker begins: what earlier ones still send is refused from now on."""
    meta = tables.meta
    with ctx.store.begin() as conn:
        epoch = _epoch(conn) + 1
        if epoch == 1:
            conn.execute(insert(meta).values(key=_EPOCH, value="1"))
        else:
            conn.execute(update(meta).where(meta.c.key == _EPOCH).values(value=str(epoch)))
    return {"epoch": epoch}


def _epoch(conn: Connection) -> int:
    known = conn.execute(select(tables.meta.c.value).where(tables.meta.c.key == _EPOCH)).scalar()
    return int(known or 0)


def failing(ctx: Context, args: dict[str, Any]) -> None:
    """The `detections` that cannot run, for `jackstop doctor` and the heartbeats to say so."""
    with ctx.store.begin() as conn:
        if int(args["epoch"]) == _epoch(conn):
            health.note_failing(conn, [str(name) for name in args["detections"]])


def inventory(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """One page of rows for the table `inventory`, from the key after `after` on; credentials and limits come first."""
    keys, people, after = tables.keys, tables.people, str(args.get("after") or "")
    with ctx.store.begin() as conn:
        rows = [] if after else [*_credentials(conn), *_shared_limits(conn)]
        found = conn.execute(
            select(keys, people.c.email)
            .join(people, people.c.id == keys.c.owner_id)
            .where(keys.c.id > after)
            .order_by(keys.c.id)
            .limit(PAGE_KEYS)
        ).all()
        budgets = _budgets_a_day(conn, [f"key:{key.id}" for key in found])
    rows += [_key(key, budgets.get(f"key:{key.id}", 0)) for key in found]
    return {"rows": rows, "after": found[-1].id if len(found) == PAGE_KEYS else None}


def _key(key: DbRow[Any], budget_nusd: int) -> dict[str, Any]:
    return {
        "kind": "key",
        "id": key.id,
        "owner": key.email,
        "team": key.team,
        "name": key.name,
        "state": key.state,
        "canary": int(key.canary),
        "created_ts": key.created_us,
        "budget_day_nusd": budget_nusd,
    }


def _credentials(conn: Connection) -> list[dict[str, Any]]:
    table = tables.credentials
    return [
        {"kind": "credential", "id": row.name, "name": row.name, "state": row.state, "created_ts": row.created_us}
        for row in conn.execute(select(table.c.name, table.c.state, table.c.created_us).order_by(table.c.name))
    ]


def _shared_limits(conn: Connection) -> list[dict[str, Any]]:
    """Budgets of money that are not a key's; those of keys stand in their keys' rows."""
    limits = tables.limits
    statement = (
        select(limits.c.id, limits.c.scope, limits.c.window, limits.c.amount)
        .where(limits.c.kind == "usd", ~limits.c.deleted, ~limits.c.scope.startswith("key:"))
        .order_by(limits.c.id)
    )
    return [
        {
            "kind": "limit",
            "id": str(row.id),
            "name": row.scope,
            "state": row.window,
            "budget_day_nusd": row.amount if row.window == "day" else 0,
        }
        for row in conn.execute(statement)
    ]


def _budgets_a_day(conn: Connection, scopes: list[str]) -> dict[str, int]:
    """What each scope's own budgets of money let it spend in a day; the lowest counts."""
    limits = tables.limits
    found: dict[str, list[int]] = defaultdict(list)
    statement = select(limits.c.scope, limits.c.window, limits.c.amount).where(
        limits.c.scope.in_(scopes), limits.c.kind == "usd", ~limits.c.deleted
    )
    for row in conn.execute(statement):
        found[row.scope].append(row.amount * (_HOURS_A_DAY if row.window == "hour" else 1))
    return {scope: min(amounts) for scope, amounts in found.items()}


def baselines(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """The ramp allowances, `ramps` [[key, nusd], …], of the keys behind `after`, up to `through` (empty: to the last).

    Keys of that range that are not named lose theirs; an allowance that a person has just raised stays as it is. The
    same again changes nothing. `epoch` is the worker's.
    """
    wanted = {f"key:{key}": int(nusd) for key, nusd in args["ramps"]}
    if len(wanted) > MOST_RAMPS:
        raise UserError(f"{len(wanted)} ramps are too many at once", f"send at most {MOST_RAMPS}", 2)
    through = f"key:{args['through']}" if args.get("through") else _BEHIND_KEYS
    with ctx.store.begin() as conn:
        if int(args["epoch"]) < _epoch(conn):
            raise UserError(f"a newer worker has begun: {_epoch(conn)}", "end the old one")
        there = _ramps(conn, f"key:{args.get('after') or ''}", through)
        raised = _raised(conn)
        changed = sum(
            _change(conn, ctx.store, row, wanted.get(scope))
            for scope, row in there.items()
            if scope not in raised and wanted.get(scope) != row.amount
        )
        new = [scope for scope in wanted if scope not in there]
        keys = tables.keys
        known = select(keys.c.id, keys.c.policy).where(keys.c.id.in_([scope[len("key:") :] for scope in new]))
        for key_id, policy in conn.execute(known).all():
            nusd = wanted[f"key:{key_id}"]
            mode = policy.get("mode")
            ramp = LimitSpec("rate", nusd, per_s=RAMP_PER_S, is_default=True, mode=mode, unit="nusd")
            add_limit(conn, ctx.store, f"key:{key_id}", ramp)
            changed += 1
    return {"changed": changed}


def _ramps(conn: Connection, after: str, through: str) -> dict[str, DbRow[Any]]:
    limits = tables.limits
    is_ramp = and_(limits.c.kind == "rate", limits.c.unit == "nusd", limits.c.is_default, ~limits.c.deleted)
    found = conn.execute(select(limits).where(is_ramp, limits.c.scope > after, limits.c.scope <= through))
    return {row.scope: row for row in found}


def _raised(conn: Connection) -> set[str]:
    responses = tables.responses
    applied = and_(responses.c.action == "allowance", responses.c.state == "applied")
    return set(conn.execute(select(responses.c.target).where(applied)).scalars())


def _change(conn: Connection, store: Store, ramp: DbRow[Any], nusd: int | None) -> int:
    to = {"deleted": True} if nusd is None else {"amount": nusd}
    conn.execute(update(tables.limits).where(tables.limits.c.id == ramp.id).values(**to, seq=store.next_seq(conn)))
    return 1


COMMANDS = {
    "worker begin": begin,
    "worker failing": failing,
    "worker inventory": inventory,
    "worker baselines": baselines,
}
