"""Which reports providers have for the credentials that are there, and what comparing them has to know of each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace
from sqlalchemy import Connection, Row, or_, select

from jackstop.reconcile.material import Kind, Watched, log_text, place_text
from jackstop.reconcile.sources import by_day, log_of, usage_of
from jackstop.store.tables import administrations, credentials, rotations, standbys

LEAST_POLL_S = 60
BALANCE_DELAY_S = 300
"""An allowance: DeepSeek does not say how late its balance falls."""


class Source(NamedTuple):
    """One report to be read, and the credentials that it is for. `row` is the administration's, or the credential's."""

    administration: str
    kind: Kind
    driver: str
    poll_s: int
    row: Row[Any]
    credentials: list[Row[Any]]


def sources(conn: Connection) -> list[Source]:
    """Every report that there is for credentials which are not retired."""
    known = {row.name: row for row in conn.execute(select(administrations))}
    linked: dict[str, list[Row[Any]]] = defaultdict(list)
    found = []
    for row in conn.execute(select(credentials).where(credentials.c.state != "retired").order_by(credentials.c.name)):
        if row.administration in known and known[row.administration].driver != "deepseek":
            linked[row.administration].append(row)
        elif row.provider == "deepseek":
            found.append(Source(f"credential:{row.name}", "balance", "deepseek", LEAST_POLL_S, row, [row]))
    for name, rows in sorted(linked.items()):
        source = usage_of(known[name].driver)
        if source is None:
            continue
        poll_s = max(source.usage_poll_s, LEAST_POLL_S)
        driver = known[name].driver
        if by_day(source):
            found.append(Source(name, "costs", driver, poll_s, known[name], rows))
        else:
            found.append(Source(name, "usage", driver, poll_s, known[name], rows))
            found.append(Source(name, "costs", driver, max(poll_s, 3_600), known[name], rows))
        log, logged = log_of(driver), [row for row in rows if log_place(driver, row)]
        if log is not None and logged:
            found.append(Source(name, "requests", driver, max(log.requests_poll_s, LEAST_POLL_S), known[name], logged))
    return found


def log_place(driver: str, row: Row[Any]) -> str:
    """Where the log of single requests is kept that a credential is in, empty where there is none."""
    log = log_of(driver)
    return log_text(row.place, log.log_places) if log is not None else ""


def all_watched(conn: Connection, surplus: Mapping[str, int | None], since_us: int) -> list[Watched]:
    """The credentials that a report tells about. `surplus` is where each one's was seen first; of keys that ended
    before `since_us` no report tells any more.
    """
    keys, made, alone = _keys(conn, since_us)
    former = _former(conn)
    rows = [
        _watched(source, row, keys[row.name], made, surplus.get(row.name), alone.get(row.name, row.created_us))
        for source in sources(conn)
        for row in source.credentials
        if source.kind in {"usage", "balance"} or _compares_costs(source)
    ]
    users = Counter((each.administration, each.user) for each in rows if each.user)
    return [
        replace(
            each,
            former=former.get(_whose(each.kind, each), []),
            # Where the log names only the user, another credential of the same user may be meant.
            alone_us=None if users[each.administration, each.user] > 1 else each.alone_us,
        )
        for each in rows
    ]


def _whose(kind: Kind, each: Watched) -> tuple[str, str]:
    """What credentials whose charges nobody tells apart have in common. Of balances nobody knows the account."""
    return ("", "") if kind == "balance" else (each.administration, each.place)


def _former(conn: Connection) -> dict[tuple[str, str], list[str]]:
    """The retired credentials by what they have in common with those that are there."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in conn.execute(select(credentials).where(credentials.c.state == "retired").order_by(credentials.c.name)):
        if row.provider == "deepseek":
            found["", ""].append(row.name)
        if row.administration:
            found[row.administration, place_text(row.place)].append(row.name)
    return found


def _compares_costs(source: Source) -> bool:
    found = usage_of(source.driver)
    return source.kind == "costs" and found is not None and by_day(found)


def _watched(
    source: Source, row: Row[Any], keys: set[str], made: set[str], surplus_us: int | None, alone_us: int | None
) -> Watched:
    reports, log = usage_of(source.driver), log_of(source.driver)
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
        log=log_place(source.driver, row),
        user=str(row.place.get("user") or ""),
        service="" if log is None else log.log_service(row.base_url),
        log_names_keys=log is not None and log.log_names_keys,
        alone_us=alone_us,
    )


def _keys(conn: Connection, since_us: int) -> tuple[dict[str, set[str]], set[str], dict[str, int | None]]:
    """By credential, the ids that its keys had: those that were rotated out are its own until they are ended. Beside
    it, which keys Jackstop made itself, and of credentials that had several keys since when one alone works, None
    while more may. Of rotations that ended before `since_us` no report tells any more.
    """
    found: dict[str, set[str]] = defaultdict(set)
    made: set[str] = set()
    alone: dict[str, int | None] = {}
    lately = or_(rotations.c.ended_us.is_(None), rotations.c.ended_us >= since_us)
    columns = rotations.c.credential, rotations.c.steps, rotations.c.detail, rotations.c.state, rotations.c.ended_us
    for name, steps, detail, state, ended_us in conn.execute(select(*columns).where(lately).order_by(rotations.c.id)):
        alone[name] = ended_us if state == "done" else None
        found[name] |= {str(detail[each]) for each in ("old_id", "new_id") if detail.get(each)}
        if "create" in steps and detail.get("new_id"):
            made.add(str(detail["new_id"]))
    for name, key in conn.execute(select(standbys.c.credential, standbys.c.provider_key_id)):
        found[name] |= {key} - {""}
        alone[name] = None
    return found, made, alone
