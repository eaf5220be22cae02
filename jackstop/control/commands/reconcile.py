"""Reconciling: which reports of providers are due, what they said, and what the comparison with the books found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

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
from jackstop.reconcile.material import DAY_US, MINUTE_US, Hold, Kind, Reading, Stored, Watched, place_text
from jackstop.reconcile.sources import KEYLESS, by_day, usage_of
from jackstop.store.tables import (
    administrations,
    credentials,
    open_holds,
    readings,
    reconciliations,
    rotations,
    standbys,
    usage,
)
from jackstop.vault.credentials import unseal_administration, unseal_credential

MOST_ROWS = 200
PAGE_ROWS = 1_000
LEAST_POLL_S = 60
HOUR_US = 3_600 * US_PER_S
SHALLOW_US = 75 * MINUTE_US
"""What is read again with each reading: buckets come late, and grow. Once an hour it is two days."""
BLIND_US = HOUR_US
KEEP_US = 40 * DAY_US
BALANCE_DELAY_S = 300
"""An allowance: DeepSeek does not say how late its balance falls."""


class _Source(NamedTuple):
    """One report to be read, and the credentials that it is for. `row` is the administration's, or the credential's."""

    administration: str
    kind: Kind
    driver: str
    poll_s: int
    row: Row[Any]
    credentials: list[Row[Any]]


def _sources(conn: Connection) -> list[_Source]:
    """Every report that there is for credentials which are not retired."""
    known = {row.name: row for row in conn.execute(select(administrations))}
    linked: dict[str, list[Row[Any]]] = defaultdict(list)
    found = []
    for row in conn.execute(select(credentials).where(credentials.c.state != "retired").order_by(credentials.c.name)):
        if row.administration in known and known[row.administration].driver != "deepseek":
            linked[row.administration].append(row)
        elif row.provider == "deepseek":
            found.append(_Source(f"credential:{row.name}", "balance", "deepseek", LEAST_POLL_S, row, [row]))
    for name, rows in sorted(linked.items()):
        source = usage_of(known[name].driver)
        if source is None:
            continue
        poll_s = max(source.usage_poll_s, LEAST_POLL_S)
        driver = known[name].driver
        if by_day(source):
            found.append(_Source(name, "costs", driver, poll_s, known[name], rows))
        else:
            found.append(_Source(name, "usage", driver, poll_s, known[name], rows))
            found.append(_Source(name, "costs", driver, max(poll_s, 3_600), known[name], rows))
    return found


def _state(conn: Connection, source: _Source) -> Row[Any] | None:
    same = and_(readings.c.administration == source.administration, readings.c.kind == source.kind)
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
        for source in _sources(conn):
            state = _state(conn, source)
            if state is None or state.next_us <= now_us:
                _set(conn, source.administration, source.kind, next_us=now_us + source.poll_s * US_PER_S)
                found.append(_reading(ctx, source, state, now_us))
    return {"readings": msgspec.to_builtins(found)}


def _reading(ctx: Context, source: _Source, state: Row[Any] | None, now_us: int) -> Reading:
    row, read_us = source.row, None if state is None else state.read_us
    since_us = now_us - now_us % DAY_US - (3 if source.kind == "costs" else 1) * DAY_US
    if source.kind == "usage" and read_us is not None and read_us // HOUR_US == now_us // HOUR_US:
        since_us = read_us - SHALLOW_US
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
        places=sorted({place_text(credential.place) for credential in source.credentials}),
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
        _set(turn.conn, administration, kind, **values)
        _forget(turn, administration, kind)
        intake.take(turn, list(_blind(turn, administration, kind) if problem else _unlinked(turn, administration)))


def _forget(turn: Turn, administration: str, kind: str) -> None:
    """Let go of what is too old, report by report: each is one range of the table's key."""
    for known, place in _reports(turn.conn, administration):
        if known == kind:
            one = and_(usage.c.administration == administration, usage.c.kind == kind, usage.c.place == place)
            turn.conn.execute(delete(usage).where(one, usage.c.start_us < turn.now_us - KEEP_US))


def _blind(turn: Turn, administration: str, kind: str) -> Iterator[Finding]:
    """Nobody knows whether an exclusive credential is stolen while its provider's report cannot be read."""
    source = next((s for s in _sources(turn.conn) if (s.administration, s.kind) == (administration, kind)), None)
    state = None if source is None else _state(turn.conn, source)
    if source is None or state is None:
        return
    for row in source.credentials:
        since_us = max(state.read_us or 0, row.created_us)
        if row.exclusive and turn.now_us - since_us >= BLIND_US:
            entity, name = f"credential:{row.name}", "reconcile_blind"
            evidence = {"kind": kind, "unread_min": (turn.now_us - since_us) // MINUTE_US}
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
        for source in _sources(conn):
            if args.get("provider") and all(row.provider != args["provider"] for row in source.credentials):
                continue
            state = _state(conn, source)
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
                    "problem": "" if state is None else state.problem,
                }
            )
    return {"rows": found, "live": ctx.live is not None}


# -- what is compared -------------------------------------------------------------------------------------------


def watched(ctx: Context, _args: dict[str, Any]) -> dict[str, Any]:
    """The credentials that a provider's report tells about."""
    with ctx.store.begin() as conn:
        surplus = {row.credential: row.detail.get("surplus_us") for row in conn.execute(select(reconciliations))}
        keys, made = _keys(conn, ctx.clock.now_us() - KEEP_US)
        rows = [
            _watched(source, row, keys[row.name], made, surplus.get(row.name))
            for source in _sources(conn)
            for row in source.credentials
            if source.kind != "costs" or _compares_costs(source)
        ]
    return {"rows": msgspec.to_builtins(rows)}


def _compares_costs(source: _Source) -> bool:
    found = usage_of(source.driver)
    return found is not None and by_day(found)


def _watched(source: _Source, row: Row[Any], keys: set[str], made: set[str], surplus_us: int | None) -> Watched:
    reports = usage_of(source.driver)
    return Watched(
        name=row.name,
        provider=row.provider,
        exclusive=row.exclusive,
        key=row.provider_key_id,
        keys=sorted(keys | {row.provider_key_id} - {""}),
        administration=source.administration,
        driver=source.driver,
        kind=source.kind,
        place=place_text(row.place),
        since_us=row.created_us,
        delay_s=BALANCE_DELAY_S if reports is None else reports.usage_delay_s,
        lag_s=BALANCE_DELAY_S if source.kind == "balance" else 0,
        surplus_us=surplus_us,
        key_since_us=None if row.provider_key_id in made else row.rotated_us,
    )


def _keys(conn: Connection, since_us: int) -> tuple[dict[str, set[str]], set[str]]:
    """By credential, the ids that its keys had: those that were rotated out are its own until they are ended. Beside
    it, which keys Jackstop made itself. Of rotations that ended before `since_us` no report tells any more.
    """
    found: dict[str, set[str]] = defaultdict(set)
    made: set[str] = set()
    lately = or_(rotations.c.ended_us.is_(None), rotations.c.ended_us >= since_us)
    wanted = select(rotations.c.credential, rotations.c.steps, rotations.c.detail).where(lately)
    for name, steps, detail in conn.execute(wanted):
        found[name] |= {str(detail[each]) for each in ("old_id", "new_id") if detail.get(each)}
        if "create" in steps and detail.get("new_id"):
            made.add(str(detail["new_id"]))
    for name, key in conn.execute(select(standbys.c.credential, standbys.c.provider_key_id)):
        found[name] |= {key} - {""}
    return found, made


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
            for source in _sources(conn)
            if source.administration == administration
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
    """The comparison of a `credential`: its `detail`, and the `finding`, if there is one, which becomes a case."""
    name, detail = str(args["credential"]), dict(args["detail"])
    finding = None if args.get("finding") is None else msgspec.convert(args["finding"], Finding)
    values = {"through_us": int(detail["through_us"]), "over": int(detail["row"]), "detail": detail}
    with begin_turn(ctx.store, ctx.settings, ctx.clock.now_us(), SYSTEM) as turn:
        if turn.conn.execute(select(credentials.c.name).where(credentials.c.name == name)).first() is None:
            return
        same = reconciliations.c.credential == name
        if turn.conn.execute(update(reconciliations).where(same).values(**values)).rowcount == 0:
            turn.conn.execute(insert(reconciliations).values(credential=name, **values))
        if finding is not None:
            intake.take(turn, [finding])


def listing(ctx: Context, _args: dict[str, Any]) -> dict[str, Any]:
    """The last comparison of each credential."""
    with ctx.store.begin() as conn:
        found = conn.execute(select(reconciliations).order_by(reconciliations.c.credential)).all()
    return {"rows": [{**row.detail, "credential": row.credential} for row in found]}


COMMANDS = {
    "reconcile take": take,
    "reconcile record": record,
    "reconcile read": read,
    "reconcile ask": ask,
    "reconcile watched": watched,
    "reconcile stored": stored,
    "reconcile holds": holds,
    "reconcile judged": judged,
    "reconcile list": listing,
}
