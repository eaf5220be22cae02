"""What `jackstop doctor` looks at in the store and in the running system; the rest is in `jackstop.cli.doctor`."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import func, select

from jackstop.console.address import url_of
from jackstop.control.commands import Context
from jackstop.control.commands.credential import check as check_credentials
from jackstop.errors import UserError
from jackstop.gate.listening import is_loopback
from jackstop.notify import health
from jackstop.notify.outbox import can_ask
from jackstop.store import tables
from jackstop.store.engine import HEAD, schema_version
from jackstop.vault.credentials import load_pepper

_STALE_US = 30_000_000
_FIXED_SQLITE = (3, 51, 3)


def result(check: str, problem: str = "", remedy: str = "", *, note: str = "", warn: bool = False) -> dict[str, Any]:
    """One line of the doctor's report: ok, a warning, or a failure."""
    state = ("warning" if warn else "failed") if problem else "ok"
    return {"check": check, "state": state, "problem": problem, "remedy": remedy, "note": note}


def examine(ctx: Context, _args: dict[str, Any]) -> dict[str, Any]:
    """All checks that need the store, the vault or the running gates."""
    found = [
        _database(ctx),
        *_sqlite(ctx),
        _pepper(ctx),
        *_credentials(ctx),
        _holds(ctx),
        *_gates(ctx),
        *_notify(ctx),
        *_questions(ctx),
        *_detections(ctx),
    ]
    return {"results": found, "live": ctx.live is not None}


def _database(ctx: Context) -> dict[str, Any]:
    with ctx.store.begin() as conn:
        version = schema_version(conn)
    if version != HEAD:
        return result("database", f"it has version {version}, this program needs {HEAD}", "restart `jackstop up`")
    return result("database", note=f"{ctx.store.engine.dialect.name}, version {version}")


def _sqlite(ctx: Context) -> list[dict[str, Any]]:
    if not ctx.store.is_sqlite:
        return []
    import sqlite3

    with ctx.store.begin() as conn:
        journal = conn.exec_driver_sql("PRAGMA journal_mode").scalar_one()
        sync = conn.exec_driver_sql("PRAGMA synchronous").scalar_one()
        # Reading the whole file would keep a running control from booking.
        broken = "ok" if ctx.live is not None else conn.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    found = []
    if journal != "wal" or sync != 2:
        found.append(
            result("sqlite", f"journal mode {journal}, synchronous {sync}", "put the home on a local disk", warn=True)
        )
    if broken != "ok":
        found.append(result("sqlite", "the database file is damaged", "stop Jackstop and restore a backup"))
    if not found:
        note = f"SQLite {sqlite3.sqlite_version}, write-ahead log, full sync"
        if sqlite3.sqlite_version_info < _FIXED_SQLITE:
            note += "; before 3.51.3 no other program may write the file"
        found.append(result("sqlite", note=note))
    return found


def _pepper(ctx: Context) -> dict[str, Any]:
    try:
        with ctx.store.begin() as conn:
            load_pepper(conn, ctx.vault)
    except UserError as error:
        return result("vault", error.problem, error.remedy)
    return result("vault", note=f"key-encryption key {ctx.vault.current_kek_id}")


def _credentials(ctx: Context) -> list[dict[str, Any]]:
    rows = check_credentials(ctx, {})["rows"]
    usable = [row for row in rows if row["state"] == "active"]
    if not usable:
        return [
            result(
                "credentials", "there is no active credential", "jackstop credential add NAME --provider P", warn=True
            )
        ]
    bad = [result(f"credential {row['name']}", row["problem"], row["remedy"]) for row in rows if not row["ok"]]
    return bad or [result("credentials", note=f"{len(usable)} active")]


def _holds(ctx: Context) -> dict[str, Any]:
    table = tables.open_holds
    with ctx.store.begin() as conn:
        count, nusd = conn.execute(
            select(func.count(), func.coalesce(func.sum(table.c.nusd), 0)).where(table.c.state == "open")
        ).one()
    if count:
        from jackstop.money import format_usd

        return result(
            "holds",
            f"{count} requests of gates that died are charged at their maximum, {format_usd(int(nusd))} USD",
            "look at `jackstop budget holds` and release what the provider did not bill",
            warn=True,
        )
    return result("holds", note="none left by a gate that died")


def _gates(ctx: Context) -> list[dict[str, Any]]:
    if ctx.live is None:
        return []
    now_us = ctx.clock.now_us()
    status = ctx.live.status()
    gates = status.get("gates", [])
    if status.get("clock_frozen"):
        problem = "the clock jumped against the boot clock: no budget window opens"
        return [result("windows", problem, "set the clock right, or accept it with `jackstop doctor --accept-clock`")]
    if not gates:
        return [result("gates", "control runs and no gate is connected to it", f"see the logs in {ctx.home.logs}")]
    late = [gate for gate in gates if now_us - gate.get("seen_us", now_us) > _STALE_US or not gate.get("fresh", True)]
    if late:
        slots = ", ".join(str(gate.get("slot")) for gate in late)
        return [result("gates", f"gates behind control's changes: {slots}", f"see the logs in {ctx.home.logs}")]
    return [result("gates", note=f"{len(gates)} connected and fresh")]


def _notify(ctx: Context) -> list[dict[str, Any]]:
    with ctx.store.begin() as conn:
        lines = health.lines(conn, ctx.clock.now_us())
    return [result(line.check, line.problem, line.remedy, note=line.note) for line in lines]


def _questions(ctx: Context) -> list[dict[str, Any]]:
    """Owners are sent a link to the console: it has to lead there from their own machines."""
    with ctx.store.begin() as conn:
        if not can_ask(conn):
            return []
    if not is_loopback(urlsplit(url_of(ctx.settings)).hostname or ""):
        return []
    problem = "owners are asked by mail, and the link in it leads to this machine only"
    return [result("questions", problem, "set console_url to the console's address in their browsers", warn=True)]


def _detections(ctx: Context) -> list[dict[str, Any]]:
    """A detection that fails, or leaves everything alone, is off, and says so nowhere else."""
    table = tables.allowed
    lasts = table.c.until_us.is_(None) | (table.c.until_us > ctx.clock.now_us())
    with ctx.store.begin() as conn:
        failing = health.failing(conn)
        everything = select(table.c.detection).where(table.c.entity == "*", lasts).order_by(table.c.detection)
        names = ["all of them" if name == "*" else name for name in conn.execute(everything).scalars()]
    if failing:
        problem = f"these cannot run, and see nothing: {', '.join(failing)}"
        return [result("detections", problem, f"see worker.log in {ctx.home.logs}")]
    if not names:
        return []
    problem = f"these leave everything alone: {', '.join(names)}"
    return [result("detections", problem, "see `jackstop detections allowed`", warn=True)]


COMMANDS = {"doctor examine": examine}
