"""Reconciling: which reports of providers are due, what they said, and what the comparison with the books found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, and_, delete, insert, or_, select, tuple_, update

from jackstop.cases import intake
from jackstop.cases.finding import Finding, uid_of
from jackstop.cases.turn import SYSTEM, Turn
from jackstop.cases.turn import begin as begin_turn
from jackstop.clock import US_PER_S
from jackstop.control.commands import Context
from jackstop.errors import UserError
from jackstop.providers.drivers.driver import Bucket
from jackstop.reconcile.linked import Source, all_watched, log_place, sources
from jackstop.reconcile.material import (
    DAY_US,
    MINUTE_US,
    Hold,
    Kind,
    Reading,
    Stored,
    place_text,
)
from jackstop.reconcile.sources import KEYLESS
from jackstop.store.tables import (
    administrations,
    credentials,
    open_holds,
    readings,
    reconciliations,
    usage,
)
from jackstop.vault.credentials import unseal_administration, unseal_credential

MOST_ROWS = 200
PAGE_ROWS = 1_000
HOUR_US = 3_600 * US_PER_S
SHALLOW_US = 75 * MINUTE_US
"""What is read again with each reading: buckets come late, and grow. Once an hour it is two days."""
BLIND_US = HOUR_US
_COMPARING = "comparing "
"""Before the kind of a reading: how far what was read has been compared as well."""
KEEP_US = 40 * DAY_US


def _state(conn: Connection, administration: str, kind: str) -> Row[Any] | None:
    same = and_(readings.c.administration == administration, readings.c.kind == kind)
    return conn.execute(select(readings).where(same)).one_or_none()


def _set(conn: Connection, administration: str, kind: str, **values: Any) -> None:
    same = and_(readings.c.administration == administration, readings.c.kind == kind)
    if conn.execute(update(readings).where(same).values(**values)).rowcount == 0:
        conn.execute(insert(readings).values(administration=administration, kind=kind, **{"next_us": 0, **values}))


# -- readings ---------------------------------------------------------------------------------------------------


def take(ctx: Context, _args: dict[str, Any]) -> dict[str, Any]:
    """The readings that are due; each is due again when the provider lets one ask again."""
    now_us = ctx.clock.now_us()
    found = []
    with ctx.store.begin() as conn:
        for source in sources(conn):
            state = _state(conn, source.administration, source.kind)
            if state is None or state.next_us <= now_us:
                _set(conn, source.administration, source.kind, next_us=now_us + source.poll_s * US_PER_S)
                found.append(_reading(ctx, source, state, now_us))
    return {"readings": msgspec.to_builtins(found)}


def _reading(ctx: Context, source: Source, state: Row[Any] | None, now_us: int) -> Reading:
    row, read_us = source.row, None if state is None else state.read_us
    since_us = now_us - now_us % DAY_US - (3 if source.kind == "costs" else 1) * DAY_US
    if source.kind in {"usage", "requests"} and read_us is not None and read_us // HOUR_US == now_us // HOUR_US:
        since_us = read_us - SHALLOW_US
    places = {place_text(credential.place) for credential in source.credentials}
    if source.kind == "requests":
        places = {log_place(source.driver, credential) for credential in source.credentials}
    if source.kind == "balance":
        secret = unseal_credential(ctx.vault, row.name, row.provider, row.base_url, row.secret)
    else:
        secret = unseal_administration(ctx.vault, row)
    return Reading(
        administration=source.administration,
        kind=source.kind,
        driver=source.driver,
        base_url=row.base_url,
        options={} if source.kind == "balance" else row.options,
        places=sorted(places),
        since_us=since_us,
        until_us=now_us,
        secret=secret.reveal().decode(),
        ca=ctx.settings.gate.upstream_ca,
        read_us=read_us,
        cursor="" if state is None else state.cursor,
    )


def record(ctx: Context, args: dict[str, Any]) -> None:
    """At most 200 `rows` that an `administration` reported; each takes the place of what it said of the same before."""
    rows, administration = msgspec.convert(args["rows"], list[Stored]), str(args["administration"])
    if len(rows) > MOST_ROWS:
        raise UserError(f"{len(rows)} rows are too many for one record", f"send at most {MOST_ROWS} at a time", 2)
    now_us = ctx.clock.now_us()
    with ctx.store.begin() as conn:
        for row in rows:
            same = _columns(administration, row)
            conn.execute(delete(usage).where(*(usage.c[name] == value for name, value in same.items())))
        if rows:
            values = [
                {**_columns(administration, row), **_amounts(row.bucket), "seen_us": row.seen_us or now_us}
                for row in rows
            ]
            conn.execute(insert(usage), values)


def _columns(administration: str, row: Stored) -> dict[str, Any]:
    return {
        "administration": administration,
        "kind": row.kind,
        "place": row.place,
        **{name: getattr(row.bucket, name) for name in ("start_us", "width_us", "provider_key_id", "model", "tier")},
    }


_AMOUNTS = ("requests", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "cost_nusd")


def _amounts(bucket: Bucket) -> dict[str, Any]:
    return {name: getattr(bucket, name) for name in _AMOUNTS}


def read(ctx: Context, args: dict[str, Any]) -> None:
    """A reading of `administration` and `kind` ended: with a `problem` or without, and where it stands (`cursor`)."""
    administration, kind, problem = str(args["administration"]), str(args["kind"]), str(args.get("problem") or "")
    now_us = ctx.clock.now_us()
    values: dict[str, Any] = {"problem": problem}
    if not problem:
        values |= {"read_us": now_us, "cursor": str(args.get("cursor") or "")}
    if args.get("after_s"):
        values["next_us"] = now_us + int(args["after_s"]) * US_PER_S
    with begin_turn(ctx.store, ctx.settings, now_us, SYSTEM) as turn:
        before = _state(turn.conn, administration, kind)
        _set(turn.conn, administration, kind, **values)
        _forget(turn, administration, kind)
        if before is None or (before.read_us or 0) // DAY_US != now_us // DAY_US:
            _forget_gone(turn)
        intake.take(turn, list(_blind(turn, administration, kind) if problem else _unlinked(turn, administration)))


def _forget(turn: Turn, administration: str, kind: str) -> None:
    """Let go of what is too old, report by report: each is one range of the table's key."""
    for known, place in _reports(turn.conn, administration):
        if known == kind:
            one = and_(usage.c.administration == administration, usage.c.kind == kind, usage.c.place == place)
            turn.conn.execute(delete(usage).where(one, usage.c.start_us < turn.now_us - KEEP_US))


def _forget_gone(turn: Turn) -> None:
    """Once a day, of places that are read no more: what is too old to be compared, should they come back."""
    there: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for administration in {source.administration for source in sources(turn.conn)}:
        there[administration] = set(_reports(turn.conn, administration))
    for one in turn.conn.execute(select(usage.c.administration, usage.c.kind, usage.c.place).distinct()).all():
        if (one.kind, one.place) not in there[one.administration]:
            rows = usage.c.administration == one.administration, usage.c.kind == one.kind, usage.c.place == one.place
            turn.conn.execute(delete(usage).where(*rows, usage.c.start_us < turn.now_us - KEEP_US))


def compared(ctx: Context, args: dict[str, Any]) -> None:
    """What was read of `administration` and `kind` was compared with the books, or could not be: `problem`."""
    administration, kind, problem = str(args["administration"]), str(args["kind"]), str(args.get("problem") or "")
    with begin_turn(ctx.store, ctx.settings, ctx.clock.now_us(), SYSTEM) as turn:
        values: dict[str, Any] = {"problem": problem} if problem else {"problem": "", "read_us": turn.now_us}
        _set(turn.conn, administration, _COMPARING + kind, **values)
        if problem:
            intake.take(turn, list(_blind(turn, administration, kind, _COMPARING)))


def _blind(turn: Turn, administration: str, kind: str, act: str = "") -> Iterator[Finding]:
    """Nobody knows whether an exclusive credential is stolen while its provider's report cannot be read or compared."""
    source = next((s for s in sources(turn.conn) if (s.administration, s.kind) == (administration, kind)), None)
    state = None if source is None else _state(turn.conn, administration, act + kind)
    if source is None or state is None:
        return
    for row in source.credentials:
        since_us = max(state.read_us or 0, row.created_us)
        # What is read once an hour has not failed for an hour when it fails once.
        if row.exclusive and turn.now_us - since_us >= max(BLIND_US, 3 * source.poll_s * US_PER_S):
            entity, name = f"credential:{row.name}", "reconcile_blind"
            evidence = {"kind": act + kind, "unread_min": (turn.now_us - since_us) // MINUTE_US}
            uid = uid_of(name, entity, since_us)
            yield Finding(
                uid, name, "medium", entity, since_us, since_us, 1, evidence, sources=("reconcile",), response="alert"
            )


def _unlinked(turn: Turn, administration: str) -> Iterator[Finding]:
    """Nor while it is not known which of the reported keys is its own, as after a rotation by hand."""
    linked = credentials.c.administration == administration, credentials.c.provider_key_id == ""
    exclusive = select(credentials).where(*linked, credentials.c.exclusive, credentials.c.state != "retired")
    rows = turn.conn.execute(exclusive).all()
    if not rows or _driver_of(turn.conn, administration) in KEYLESS:
        return
    for row in rows:
        since_us = row.rotated_us or row.created_us
        if turn.now_us - since_us >= BLIND_US:
            entity, name = f"credential:{row.name}", "reconcile_blind"
            uid, evidence = uid_of(name, entity, since_us), {"unlinked_min": (turn.now_us - since_us) // MINUTE_US}
            yield Finding(
                uid, name, "medium", entity, since_us, since_us, 1, evidence, sources=("reconcile",), response="alert"
            )


def _driver_of(conn: Connection, administration: str) -> str | None:
    return conn.execute(select(administrations.c.driver).where(administrations.c.name == administration)).scalar()


def ask(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Have the reports (of `provider`) read soon, as far as the provider lets one ask; how each of them stands."""
    now_us, found = ctx.clock.now_us(), []
    with ctx.store.begin() as conn:
        for source in sources(conn):
            if args.get("provider") and all(row.provider != args["provider"] for row in source.credentials):
                continue
            state = _state(conn, source.administration, source.kind)
            read_us = None if state is None else state.read_us
            due = state is None or now_us - (read_us or 0) >= source.poll_s * US_PER_S
            if due and args.get("now"):
                _set(conn, source.administration, source.kind, next_us=now_us)
            found.append(
                {
                    "administration": source.administration,
                    "kind": source.kind,
                    "driver": source.driver,
                    "due": due,
                    "read_us": read_us,
                    "problem": _problem(conn, source, state),
                }
            )
    return {"rows": found, "live": ctx.live is not None}


def _problem(conn: Connection, source: Source, state: Row[Any] | None) -> str:
    """Why a report cannot be read, or else be compared."""
    comparing = _state(conn, source.administration, _COMPARING + source.kind)
    return next((str(row.problem) for row in (state, comparing) if row is not None and row.problem), "")


# -- what is compared -------------------------------------------------------------------------------------------


def watched(ctx: Context, _args: dict[str, Any]) -> dict[str, Any]:
    """The credentials that a provider's report tells about."""
    with ctx.store.begin() as conn:
        surplus = {row.credential: row.detail.get("surplus_us") for row in conn.execute(select(reconciliations))}
        rows = all_watched(conn, surplus, ctx.clock.now_us() - KEEP_US)
    return {"rows": msgspec.to_builtins(rows)}


def stored(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """One page of what an `administration` reported since `since_us`; `after` is where the page before it ended."""
    administration, since_us = str(args["administration"]), int(args["since_us"])
    number, last = args.get("after") or (0, None)
    with ctx.store.begin() as conn:
        reports = _reports(conn, administration)
        if number >= len(reports):
            return {"rows": [], "after": None}
        kind, place = reports[number]
        # One report is one range of the table's key, which is read as far as a page goes and no further.
        one = and_(usage.c.administration == administration, usage.c.kind == kind, usage.c.place == place)
        statement = select(usage).where(one, usage.c.start_us >= since_us).order_by(*_WITHIN).limit(PAGE_ROWS)
        if last is not None:
            statement = statement.where(usage.c.start_us >= last[0], tuple_(*_WITHIN) > tuple_(*last))
        found = conn.execute(statement).all()
    rows = [Stored(row.kind, row.place, _bucket(row), row.seen_us) for row in found]
    after: list[Any] | None = [number + 1, None] if number + 1 < len(reports) else None
    if len(found) == PAGE_ROWS:
        after = [number, [found[-1]._mapping[column.name] for column in _WITHIN]]  # noqa: SLF001 -- public in SQLAlchemy
    return {"rows": msgspec.to_builtins(rows), "after": after}


_WITHIN = (usage.c.start_us, usage.c.width_us, usage.c.provider_key_id, usage.c.model, usage.c.tier)


def _reports(conn: Connection, administration: str) -> list[tuple[Kind, str]]:
    """Of an administration, what is read, and of which places."""
    return sorted(
        {
            (source.kind, place_text(credential.place))
            for source in sources(conn)
            if source.administration == administration and source.kind != "requests"
            for credential in source.credentials
        }
    )


def _bucket(row: Row[Any]) -> Bucket:
    return Bucket(**{name: row._mapping[name] for name in Bucket.__struct_fields__})  # noqa: SLF001 -- public in SQLAlchemy


def holds(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """One page of the holds since `since_us` that no event tells about, released ones too: the provider may charge."""
    table, after = open_holds, str(args.get("after") or "")
    rows = []
    if ctx.live is not None and not after:
        ctx.live.flush()
        rows = [_hold(each, "under way") for each in ctx.live.holds()]
    # What was settled as an estimate has an event; only the lost end of a journal has none.
    silent = or_(table.c.state != "estimated", table.c.id.contains("-tail-"))
    statement = (
        select(table)
        .where(silent, table.c.ts_us >= int(args["since_us"]), table.c.id > after)
        .order_by(table.c.id)
        .limit(PAGE_ROWS)
    )
    with ctx.store.begin() as conn:
        found = [row._asdict() for row in conn.execute(statement)]
    rows += [_hold(each, "tail" if "-tail-" in each["id"] else "open") for each in found]
    after_id = found[-1]["id"] if len(found) == PAGE_ROWS else None
    return {"rows": msgspec.to_builtins(rows), "after": after_id}


def _hold(row: dict[str, Any], state: Any) -> Hold:
    return Hold(row["id"], row["ts_us"], row["credential"], row["model"], row["nusd"], state)


# -- what was found ---------------------------------------------------------------------------------------------


def judged(ctx: Context, args: dict[str, Any]) -> None:
    """The comparison of a `credential`: its `detail`, and the `findings`, if there are any, which become a case."""
    name, detail = str(args["credential"]), dict(args["detail"])
    found = msgspec.convert(args["findings"], list[Finding])
    values = {"through_us": int(detail["through_us"]), "over": int(detail["row"]), "detail": detail}
    with begin_turn(ctx.store, ctx.settings, ctx.clock.now_us(), SYSTEM) as turn:
        if turn.conn.execute(select(credentials.c.name).where(credentials.c.name == name)).first() is None:
            return
        log = _detail(turn.conn, name).get("log")
        if log is not None:
            detail["log"] = log
        _write(turn.conn, name, **values)
        if found:
            intake.take(turn, found)


def matched(ctx: Context, args: dict[str, Any]) -> None:
    """A log of single requests was read up to `cursor`: of each credential in `rows` how it stands against its `log`,
    and the `finding`, if there is one. See `jackstop.reconcile.requests.Matched`.
    """
    with begin_turn(ctx.store, ctx.settings, ctx.clock.now_us(), SYSTEM) as turn:
        there = set(turn.conn.execute(select(credentials.c.name)).scalars())
        for row in args["rows"]:
            name = str(row["credential"])
            if name not in there:
                continue
            _write(turn.conn, name, detail={**_detail(turn.conn, name), "log": row["log"]})
            if row.get("finding") is not None:
                intake.take(turn, [msgspec.convert(row["finding"], Finding)])
        values = {"read_us": turn.now_us, "cursor": str(args["cursor"]), "problem": ""}
        _set(turn.conn, str(args["administration"]), str(args["kind"]), **values)


def _detail(conn: Connection, name: str) -> dict[str, Any]:
    found = conn.execute(select(reconciliations.c.detail).where(reconciliations.c.credential == name)).scalar()
    return dict(found or {})


def _write(conn: Connection, name: str, **values: Any) -> None:
    same = reconciliations.c.credential == name
    if conn.execute(update(reconciliations).where(same).values(**values)).rowcount == 0:
        conn.execute(insert(reconciliations).values(credential=name, **{"through_us": 0, "over": 0, **values}))


def listing(ctx: Context, _args: dict[str, Any]) -> dict[str, Any]:
    """The last comparison of each credential."""
    with ctx.store.begin() as conn:
        found = conn.execute(select(reconciliations).order_by(reconciliations.c.credential)).all()
    return {"rows": [{**row.detail, "credential": row.credential} for row in found]}


COMMANDS = {
    "reconcile take": take,
    "reconcile record": record,
    "reconcile read": read,
    "reconcile compared": compared,
    "reconcile ask": ask,
    "reconcile watched": watched,
    "reconcile stored": stored,
    "reconcile holds": holds,
    "reconcile judged": judged,
    "reconcile matched": matched,
    "reconcile list": listing,
}
