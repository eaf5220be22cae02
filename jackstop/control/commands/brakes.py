"""Hard limits at the providers: wanted and shown for people; taken and recorded for the worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from jackstop.cases import intake
from jackstop.cases.finding import Finding, uid_of
from jackstop.cases.turn import SYSTEM, Turn
from jackstop.cases.turn import begin as begin_turn
from jackstop.clock import US_PER_S
from jackstop.control.commands import Context
from jackstop.control.commands.credential import find_credential
from jackstop.errors import UserError
from jackstop.keys.amounts import parse_budget
from jackstop.providers import drivers
from jackstop.providers.drivers.driver import ProviderLimit
from jackstop.reconcile.brakes import Change, Known, changes
from jackstop.store import audit
from jackstop.store.audit import Tag
from jackstop.store.tables import administrations, credentials, provider_limits, readings
from jackstop.vault.credentials import unseal_administration

LIMITS = "limits:"
"""The kind of a reading of one credential's limits begins so, and ends with its name."""
_HOUR_US = 3_600 * US_PER_S
_TAKEN_US = 120 * US_PER_S
_RETRY_S = 300
_BLIND_US = 3 * _HOUR_US
_INTENT = ""
"""The scope of a row that only says what is wanted: the provider has not been told yet."""

_table = provider_limits


# -- for people -------------------------------------------------------------------------------------------------


def want(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Write down that the limit of credential `name` is to be `amount`; the worker then sets it."""
    amount_nusd = _monthly(str(args["amount"]))
    now_us = ctx.clock.now_us()
    with ctx.store.begin() as conn:
        credential = find_credential(conn, str(args["name"]))
        _require_limits(conn, credential)
        conn.execute(delete(_table).where(_table.c.credential == credential.name, _table.c.scope == _INTENT))
        conn.execute(
            insert(_table).values(
                credential=credential.name,
                scope=_INTENT,
                window="month",
                enforced=False,
                wanted_nusd=amount_nusd,
                seen_us=now_us,
            )
        )
        _read_at(conn, credential, now_us)
        detail = {"wanted_nusd": amount_nusd}
        audit.record(conn, now_us, ctx.actor, Tag.CREDENTIAL_LIMIT, f"credential:{credential.name}", detail)
        return _shown(conn, credential)


def _monthly(text: str) -> int:
    budget = parse_budget(text)
    if budget.kind != "usd" or budget.window != "month" or not budget.amount:
        raise UserError(f"{text!r} is no limit that a provider keeps", "write it in dollars a month: 500usd/month", 2)
    return budget.amount


def show(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """The limits of credential `name` as the provider was last seen to keep them."""
    with ctx.store.begin() as conn:
        return _shown(conn, find_credential(conn, str(args["name"])))


def _shown(conn: Connection, credential: Row[Any]) -> dict[str, Any]:
    rows = conn.execute(
        select(_table).where(_table.c.credential == credential.name).order_by(_table.c.scope, _table.c.window)
    ).all()
    waits = next((row for row in rows if row.scope == _INTENT), None)
    reading = conn.execute(
        select(readings.c.problem, readings.c.read_us).where(
            readings.c.administration == credential.administration, readings.c.kind == LIMITS + credential.name
        )
    ).one_or_none()
    return {
        "credential": credential.name,
        "waiting_nusd": None if waits is None else waits.wanted_nusd,
        "problem": "" if reading is None else reading.problem,
        "read_us": None if reading is None else reading.read_us,
        "rows": [
            {
                "scope": row.scope,
                "window": row.window,
                "amount_nusd": row.amount_nusd,
                "enforced": row.enforced,
                "wanted_nusd": row.wanted_nusd,
                "seen_us": row.seen_us,
            }
            for row in rows
            if row.scope != _INTENT
        ],
    }


def _require_limits(conn: Connection, credential: Row[Any]) -> None:
    which = select(administrations.c.driver).where(administrations.c.name == credential.administration)
    driver = conn.execute(which).scalar_one_or_none()
    if driver is None:
        raise UserError(
            f"{credential.name} is kept at no administration, by which a limit could be set",
            f"see `jackstop credential link {credential.name} --help`",
            2,
        )
    if not _has_limits(driver):
        raise UserError(f"{driver} has no API for hard limits", "set one in the provider's console, if it has any", 2)


def _has_limits(driver: str) -> bool:
    return hasattr(drivers.driver(driver), "set_limit")


# -- for the worker ---------------------------------------------------------------------------------------------


def take(ctx: Context, _args: dict[str, Any]) -> list[dict[str, Any]]:
    """What is to be set and read now, each with the secret for it. See `jackstop.reconcile.brakes.Task`."""
    now_us = ctx.clock.now_us()
    with ctx.store.begin() as conn:
        limited = [admin for admin in conn.execute(select(administrations)).all() if _has_limits(admin.driver)]
        linked = [(admin, row) for admin in limited for row in _linked(conn, admin.name)]
        tasks = [(admin, row) for admin, row in linked if _is_due(conn, row, now_us)]
        for _, row in tasks:
            _read_at(conn, row, now_us + _TAKEN_US)
        _forget_gone(conn, {(row.administration, LIMITS + row.name) for _, row in linked})
        wanted = _intents(conn)
    return [
        {
            "credential": row.name,
            "driver": admin.driver,
            "base_url": admin.base_url,
            "options": admin.options,
            "place": {"key": row.provider_key_id, **row.place} if row.provider_key_id else row.place,
            "secret": unseal_administration(ctx.vault, admin).reveal().decode(),
            "set_nusd": wanted.get(row.name),
            "ca": ctx.settings.gate.upstream_ca,
        }
        for admin, row in tasks
    ]


def _is_due(conn: Connection, credential: Row[Any], now_us: int) -> bool:
    next_us = conn.execute(select(readings.c.next_us).where(*_reading(credential))).scalar_one_or_none()
    return next_us is None or next_us <= now_us


def _forget_gone(conn: Connection, there: set[tuple[str, str]]) -> None:
    """Let go of the readings of credentials that are kept elsewhere by now, or nowhere."""
    here = select(readings.c.administration, readings.c.kind).where(readings.c.kind.startswith(LIMITS))
    for administration, kind in conn.execute(here).all():
        if (administration, kind) not in there:
            conn.execute(delete(readings).where(readings.c.administration == administration, readings.c.kind == kind))


def _linked(conn: Connection, administration: str) -> list[Row[Any]]:
    linked = select(credentials).where(credentials.c.administration == administration, credentials.c.state != "retired")
    return list(conn.execute(linked.order_by(credentials.c.name)))


def _intents(conn: Connection) -> dict[str, int]:
    rows = conn.execute(select(_table.c.credential, _table.c.wanted_nusd).where(_table.c.scope == _INTENT))
    return {row.credential: row.wanted_nusd for row in rows}


def _reading(credential: Row[Any]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return readings.c.administration == credential.administration, readings.c.kind == LIMITS + credential.name


def _read_at(conn: Connection, credential: Row[Any], next_us: int, **values: Any) -> None:
    mine = update(readings).where(*_reading(credential))
    if not conn.execute(mine.values(next_us=next_us, **values)).rowcount:
        kind = LIMITS + credential.name
        conn.execute(
            insert(readings).values(administration=credential.administration, kind=kind, next_us=next_us, **values)
        )


def record(ctx: Context, args: dict[str, Any]) -> None:
    """How it went for `credential`: the `limits` that are there, what was `set` before, or a `problem`."""
    now_us = ctx.clock.now_us()
    with begin_turn(ctx.store, ctx.settings, now_us, SYSTEM) as turn:
        credential = find_credential(turn.conn, str(args["credential"]))
        if args.get("set"):
            _note_set(turn, credential, args["set"])
        if args.get("problem"):
            wait_us = max(int(args.get("after_s") or 0), _RETRY_S) * US_PER_S
            _read_at(turn.conn, credential, now_us + wait_us, problem=str(args["problem"]))
            intake.take(turn, list(_unread(turn, credential)))
            return
        seen = msgspec.convert(args["limits"], list[ProviderLimit])
        _follow_key(turn, credential)
        found = changes(_known(turn.conn, credential), seen)
        _write(turn, credential, seen)
        if found:
            intake.take(turn, [_finding(turn, credential, each) for each in found])
        _note_read(turn, credential)


def _note_read(turn: Turn, credential: Row[Any]) -> None:
    """The next reading is in an hour, unless something is still to be set, which was asked for meanwhile."""
    waits = credential.name in _intents(turn.conn)
    next_us = turn.now_us if waits else turn.now_us + _HOUR_US
    _read_at(turn.conn, credential, next_us, read_us=turn.now_us, problem="")


def _unread(turn: Turn, credential: Row[Any]) -> Iterator[Finding]:
    """Nobody knows whether the wall still stands while limits cannot be read that were there, or that are wanted."""
    row = turn.conn.execute(select(readings).where(*_reading(credential))).one()
    wants = select(_table.c.seen_us).where(_table.c.credential == credential.name, _table.c.wanted_nusd.is_not(None))
    wanted_us = turn.conn.execute(wants.order_by(_table.c.seen_us)).scalars().first()
    since_us = row.read_us or wanted_us
    if since_us is None or turn.now_us - since_us < _BLIND_US:
        return
    entity, name = f"credential:{credential.name}", "provider_limit_unread"
    evidence = {"problem": row.problem, "unread_min": (turn.now_us - since_us) // (60 * US_PER_S)}
    yield Finding(
        uid_of(name, entity, since_us),
        name,
        "low" if wanted_us is None else "medium",
        entity,
        since_us,
        since_us,
        1,
        evidence,
        sources=("brakes",),
        cause=f"limits:{credential.administration}",
        response="alert",
    )


def _note_set(turn: Turn, credential: Row[Any], made: dict[str, Any]) -> None:
    """The provider was told. Other credentials that the same limit holds for want the same from now on."""
    scope, window, nusd = str(made["scope"]), str(made["window"]), int(made["nusd"])
    intent = _table.c.credential == credential.name, _table.c.scope == _INTENT, _table.c.wanted_nusd == nusd
    turn.conn.execute(delete(_table).where(*intent))
    names = [row.name for row in _linked(turn.conn, credential.administration)]
    here = _table.c.scope == scope, _table.c.window == window
    told = {"amount_nusd": nusd, "enforced": True, "wanted_nusd": nusd, "seen_us": turn.now_us}
    turn.conn.execute(update(_table).where(*here, _table.c.credential.in_(names)).values(**told))
    mine = select(_table.c.scope).where(*here, _table.c.credential == credential.name)
    if turn.conn.execute(mine).first() is None:
        turn.conn.execute(insert(_table).values(credential=credential.name, scope=scope, window=window, **told))


def _follow_key(turn: Turn, credential: Row[Any]) -> None:
    """A limit on the key itself is, after a rotation, that of the new key."""
    if not credential.provider_key_id:
        return
    now = f"key:{credential.provider_key_id}"
    mine = _table.c.credential == credential.name, _table.c.scope.startswith("key:"), _table.c.scope != now
    old = turn.conn.execute(select(_table.c.scope, _table.c.window).where(*mine)).all()
    there = set(
        turn.conn.execute(
            select(_table.c.window).where(_table.c.credential == credential.name, _table.c.scope == now)
        ).scalars()
    )
    for row in old:
        this = _table.c.credential == credential.name, _table.c.scope == row.scope, _table.c.window == row.window
        if row.window in there:
            turn.conn.execute(delete(_table).where(*this))
        else:
            turn.conn.execute(update(_table).where(*this).values(scope=now))
            there.add(row.window)


def _known(conn: Connection, credential: Row[Any]) -> list[Known]:
    rows = conn.execute(select(_table).where(_table.c.credential == credential.name, _table.c.scope != _INTENT))
    return [Known(row.scope, row.window, row.amount_nusd, row.enforced, row.wanted_nusd) for row in rows]


def _write(turn: Turn, credential: Row[Any], seen: list[ProviderLimit]) -> None:
    """Write down what is there; what is there no more has no amount."""
    now = {(each.scope, each.window): each for each in seen}
    known = {(each.scope, each.window) for each in _known(turn.conn, credential)}
    for scope, window in now.keys() | known:
        limit = now.get((scope, window))
        values = {
            "amount_nusd": None if limit is None else limit.amount_nusd,
            "enforced": limit is not None and limit.enforced,
            "seen_us": turn.now_us,
        }
        this = _table.c.credential == credential.name, _table.c.scope == scope, _table.c.window == window
        if (scope, window) in known:
            turn.conn.execute(update(_table).where(*this).values(**values))
        else:
            turn.conn.execute(insert(_table).values(credential=credential.name, scope=scope, window=window, **values))


def _finding(turn: Turn, credential: Row[Any], change: Change) -> Finding:
    entity = f"credential:{credential.name}"
    return Finding(
        uid_of("provider_limit_changed", f"{entity} {change.scope} {change.window}", turn.now_us),
        "provider_limit_changed",
        change.severity,
        entity,
        turn.now_us,
        turn.now_us,
        1,
        {
            "how": change.how,
            "scope": change.scope,
            "window": change.window,
            "before_nusd": change.before_nusd,
            "now_nusd": change.now_nusd,
        },
        sources=("brakes",),
        # Of two credentials in one project both tell of it.
        cause=f"limit:{credential.administration}:{change.scope}",
        response="alert",
    )


COMMANDS = {"brakes want": want, "brakes show": show, "brakes take": take, "brakes record": record}
