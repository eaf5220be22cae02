"""The control process: opens the store, follows the journals, serves the socket."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import uvloop
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import DBAPIError

from jackstop.cases import intake, questions, responses
from jackstop.cases.finding import Finding
from jackstop.cases.tend import tend
from jackstop.cases.turn import SYSTEM, Turn, enter
from jackstop.clock import Clock, SystemClock, iso
from jackstop.control import commands
from jackstop.control.client import lock, socket_path
from jackstop.control.clockwatch import ClockWatch
from jackstop.control.lender import Lender
from jackstop.control.protocol import Command, Hello, Reply
from jackstop.control.scribe import Scribe
from jackstop.control.sessions import HEARTBEAT_MS, Sessions
from jackstop.cost.watch import CostWatch
from jackstop.errors import UserError
from jackstop.events.positions import LAKE_COMMANDS
from jackstop.gate.journal import START, Position, Reader, claim
from jackstop.ledger import leases
from jackstop.ledger.booking import Tail, charges, places
from jackstop.ledger.windows import bounds
from jackstop.rotation import invitation, schedule
from jackstop.settings import Home, Settings, load
from jackstop.store import audit
from jackstop.store.engine import Store, first_line, open_store
from jackstop.store.feed import Feed, follow_settings
from jackstop.store.tables import instances, limits
from jackstop.vault.credentials import fingerprint_key, load_pepper, question_key
from jackstop.vault.kek import open_vault

BOOK_INTERVAL_S = 0.2
RECOVER_INTERVAL_S = 0.25
CLOCK_INTERVAL_S = 1.0
TIDY_INTERVAL_S = 5.0
TEND_INTERVAL_S = 1.0
CONSOLE = "console"
COST_INTERVAL_S = 30.0
FLUSH_TIMEOUT_S = 10.0
LOCK_TIMEOUT_S = 10.0
LONG_COMMANDS = frozenset(
    {"audit verify", "vault rotate-kek", "findings report", "findings hunted", "cost digest", "cost digest queue"}
)
"""Commands of many short transactions: in a thread of their own, so that no grant waits for their end."""
TAKE_OVER_S = 30.0
TAKE_OVER_POLL_S = 0.01

log = logging.getLogger(__name__)


class _Undone(Exception):
    """Rolls a rehearsal back."""


class Control:
    """One node's control. Everything that touches the store runs in the scribe's thread."""

    def __init__(self, home: Home, settings: Settings, store: Store, clock: Clock) -> None:
        self.home = home
        self.settings = settings
        self.store = store
        self.clock = clock
        self.vault = open_vault(settings, home)
        self.scribe = Scribe(store)
        self.feed = Feed(self.vault, settings)
        self.lender = Lender(self.scribe, self.feed, settings, clock)
        self.sessions = Sessions(self.scribe, self.feed, self.lender, clock, self._attach, self._run_command)
        self.watch = ClockWatch(clock, self._report)
        self.costs = CostWatch(store, settings.alerts, clock)
        self._tails: dict[str, Tail] = {}
        self._flush_asked = asyncio.Event()

    # -- start and end ------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """What must be done before anyone is served: migrations, secrets, the clock, dead instances."""
        responses.check(self.settings.responses)
        schedule.check(self.settings.rotation)
        self.store.migrate()
        follow_settings(self.store, self.settings)
        with self.store.begin() as conn:
            pepper = load_pepper(conn, self.vault)
            self.sessions.pepper = pepper
            self.sessions.fingerprint_key = fingerprint_key(pepper)
            self.watch.begin(conn)
            self.lender.frozen = self.watch.frozen
            self.lender.latest_us = self.watch.seen_us
            self.lender.unresolved = set(self._living(conn))
        self.sessions.processes = self.settings.workers
        self._recover_dead()
        self._warm_up()

    def _warm_up(self) -> None:
        """Have every statement of a grant compiled before anyone waits; leaves no trace."""
        opening = leases.Opening(self.clock.now_us(), 0, frozen=False)
        with suppress(_Undone), self.store.begin() as conn:
            limit_id = conn.execute(
                insert(limits)
                .values(scope="org", kind="usd", amount=2, window="day", seq=self.store.next_seq(conn))
                .returning(limits.c.id)
            ).scalar_one()
            self.feed.limit(conn, limit_id)
            window_us = bounds("day", opening.now_us)[0]
            for need in (1, 1, 1):
                granted = leases.grant(
                    conn, limit_id, window_us, "", need=need, want=0, processes=1, observed=False, opening=opening
                )
                leases.change(conn, granted.lease_id, booked=granted.amount, journaled=granted.amount)
            raise _Undone

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        self.scribe.start()
        await self.scribe.alone(self.prepare)
        with suppress(FileNotFoundError):
            self.home.control_socket.unlink()
        with socket_path(self.home) as path:
            server = await asyncio.start_unix_server(self.sessions.serve, path, limit=1 << 20)
        self.home.control_socket.chmod(0o600)
        log.info("control serves %s", self.home.control_socket)
        chores = [
            asyncio.create_task(self._every(BOOK_INTERVAL_S, self._book_all)),
            asyncio.create_task(self._every(RECOVER_INTERVAL_S, self._recover)),
            asyncio.create_task(self._every(HEARTBEAT_MS / 1000, self._beat)),
            asyncio.create_task(self._every(CLOCK_INTERVAL_S, self._look_at_clock)),
            asyncio.create_task(self._every(TIDY_INTERVAL_S, self._tidy)),
            asyncio.create_task(self._every(TEND_INTERVAL_S, self._tend)),
            asyncio.create_task(self._every(COST_INTERVAL_S, self._watch_costs)),
            asyncio.create_task(self._serve_console()),
        ]
        await stop.wait()
        server.close()
        for chore in chores:
            chore.cancel()
        for session in list(self.sessions.gates.values()):
            session.close()
        await asyncio.gather(*chores, return_exceptions=True)
        with suppress(FileNotFoundError):
            self.home.control_socket.unlink()
        await asyncio.to_thread(self.scribe.stop)

    async def _every(self, seconds: float, act: Any) -> None:
        while True:
            try:
                await act()
            except DBAPIError as error:
                log.error("control failed at a chore: %s", first_line(error))  # noqa: TRY400 -- the disk or the server, not the code
            except Exception:
                log.exception("control failed at a chore")
            await asyncio.sleep(seconds)

    async def _beat(self) -> None:
        self.sessions.beat()

    async def _watch_costs(self) -> None:
        refused, self.lender.exhausted = self.lender.exhausted, set()
        self.costs.note_exhausted(refused)
        while await self.scribe.alone(self.costs.look):
            pass

    async def _look_at_clock(self) -> None:
        await self.scribe.do(self.watch.look)
        self.lender.frozen = self.watch.frozen

    async def _serve_console(self) -> None:
        """The pages, in the same loop: for as long as control runs, or until their settings are found to be wrong."""
        from jackstop.console.address import check_console
        from jackstop.console.serve import serve

        try:
            check_console(self.settings)
            key = question_key(self.sessions.pepper)
            await serve(
                self.settings,
                self._ask_for_console,
                self.clock,
                is_token=lambda token: bool(questions.question_of(key, token)),
                is_invited=lambda token: invitation.meant_by(key, token) is not None,
            )
        except UserError as error:
            log.error("no console: %s; %s", error.problem, error.remedy)  # noqa: TRY400 -- a setting, not the code
        except Exception:
            log.exception("the console has failed, and is away until control starts again")

    async def _ask_for_console(self, name: str, args: dict[str, Any]) -> Reply:
        return await self._run_command(Command(name, args), CONSOLE)

    # -- cases --------------------------------------------------------------------------------------------------

    def _turn(self, conn: Connection) -> Turn:
        return enter(conn, self.store, self.settings, self.clock.now_us(), SYSTEM)

    def _report(self, conn: Connection, finding: Finding) -> None:
        intake.take(self._turn(conn), [finding])

    async def _tend(self) -> None:
        """Do what time does to cases; nothing while it is not known what time it is."""
        if not self.watch.frozen and await self.scribe.do(lambda conn: tend(self._turn(conn))):
            await self.sessions.publish()

    # -- instances and their journals ---------------------------------------------------------------------------

    def _living(self, conn: Connection) -> list[str]:
        return list(conn.execute(select(instances.c.id).where(instances.c.state == "live")).scalars())

    async def _attach(self, hello: Hello) -> None:
        """A gate greets: book its journal to the end that it names, then put right what got lost on the way."""
        await self.scribe.do(partial(self._enter, hello=hello))
        await self.scribe.alone(partial(self._book_to, hello.instance, Position(*hello.end)))
        await self.scribe.do(partial(leases.reconcile, instance=hello.instance))
        self.lender.unresolved.discard(hello.instance)

    def _enter(self, conn: Connection, hello: Hello) -> None:
        known = conn.execute(select(instances.c.state).where(instances.c.id == hello.instance)).scalar()
        if known is None:
            conn.execute(
                insert(instances).values(
                    id=hello.instance,
                    slot=hello.slot,
                    pid=hello.pid,
                    state="live",
                    started_us=self.clock.now_us(),
                )
            )
        elif known != "live":
            raise ValueError(f"instance {hello.instance} was given up before")

    def _book_to(self, instance: str, end: Position) -> None:
        while self._book(instance) and self._tails[instance].position < end:
            pass

    def _book(self, instance: str) -> int:
        """Book one batch of one journal; the number of records."""
        tail = self._tails.get(instance) or Tail(self.home.journal, instance, self._report)
        self._tails[instance] = tail
        if not tail.behind():
            return 0
        try:
            with self.store.begin() as conn:
                booked = tail.book(conn, self.store)
        except Exception:
            del self._tails[instance]
            raise
        self.costs.note(booked.leases)
        if booked.gaps:
            self._loop_soon(self.sessions.publish)
        return booked.records

    def _loop_soon(self, act: Any) -> None:
        self.scribe.loop.call_soon_threadsafe(lambda: asyncio.ensure_future(act()))

    async def _book_all(self) -> None:
        await self.scribe.alone(self.book_all)

    def book_all(self) -> None:
        """Book what the journals of all connected gates hold by now."""
        for instance in list(self.sessions.gates):
            end = Reader(self.home.journal / instance).written()
            self._book_to(instance, end)

    async def _recover(self) -> None:
        await self.scribe.alone(self._recover_dead)

    def _recover_dead(self) -> None:
        """Whoever is neither connected nor holds its journal's lock is dead: settle its affairs."""
        with self.store.begin() as conn:
            absent = [instance for instance in self._living(conn) if instance not in self.sessions.gates]
        for instance in absent:
            folder = self.home.journal / instance
            if not folder.exists():
                self._bury(instance)
            elif not claim(folder, partial(self._bury, instance)):
                continue
            self.lender.unresolved.discard(instance)
            self._tails.pop(instance, None)

    def _bury(self, instance: str) -> None:
        tail = Tail(self.home.journal, instance, self._report)
        with self.store.begin() as conn:
            tail.recover(conn, self.store, self.clock)
        self.costs.note_all()
        self.lender.drop_shares(instance)
        log.info("instance %s is dead; its journal is booked", instance)

    async def _tidy(self) -> None:
        await self.scribe.alone(self._remove_read_segments)

    def _remove_read_segments(self) -> None:
        """Delete what is both booked and in the lake; a dead instance's folder goes whole."""
        with self.store.begin() as conn:
            rows = conn.execute(select(instances).where(instances.c.state != "gone")).all()
        for row in rows:
            folder = self.home.journal / row.id
            reader = Reader(folder)
            booked = Position(row.scan_segment, row.scan_offset)
            laked = Position(row.lake_segment, row.lake_offset)
            if row.state == "closed" and (laked >= Position(row.segment, row.offset) > START or not folder.exists()):
                shutil.rmtree(folder, ignore_errors=True)
                if folder.exists():
                    continue  # the next time
                with self.store.begin() as conn:
                    conn.execute(update(instances).where(instances.c.id == row.id).values(state="gone"))
                continue
            for segment in reader.segments():
                if segment < min(booked, laked).segment:
                    (folder / f"{segment:08d}.seg").unlink(missing_ok=True)

    # -- commands -----------------------------------------------------------------------------------------------

    async def _run_command(self, command: Command, actor: str) -> Reply:
        if command.name == "lake wait":
            return await self._wait_for_flush(command.args)
        if command.name in LAKE_COMMANDS:
            act = LAKE_COMMANDS[command.name]
            return Reply(result=await self.scribe.do(lambda conn: act(conn, command.args)))
        if command.name == "status":
            return Reply(result=await self.scribe.alone(self.status))
        if command.name == "clock accept":
            return Reply(result=await self.scribe.do(partial(self._accept_clock, actor=actor)))
        if command.name == "events flush":
            return Reply(result={"live": True, "written": await self._flush_lake()})
        context = commands.Context(self.store, self.vault, self.settings, self.home, self.clock, actor, self)
        run = partial(commands.run, context, command.name, command.args)
        reply = await (asyncio.to_thread(run) if command.name in LONG_COMMANDS else self.scribe.alone(run))
        await self.sessions.publish()
        return reply

    def _accept_clock(self, conn: Connection, actor: str) -> dict[str, Any]:
        self.watch.accept(conn)
        self.lender.frozen = False
        now = self.clock.now_us()
        audit.record(conn, now, actor, audit.Tag.CLOCK_ACCEPT, "clock", {"now": iso(now)})
        return {"now": iso(now)}

    async def _wait_for_flush(self, args: dict[str, Any]) -> Reply:
        """The worker's question "is it time": yes when someone asks for a flush, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(float(args["seconds"])):
                await self._flush_asked.wait()
        self._flush_asked.clear()
        return Reply(result=True)

    async def _flush_lake(self) -> bool:
        """Ask the worker to write all that is booked by now; whether it did in time."""
        await self._book_all()
        wanted = await self.scribe.do(_ends)
        self._flush_asked.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                while not await self.scribe.do(partial(_laked, wanted=wanted)):  # noqa: ASYNC110 -- another process
                    await asyncio.sleep(0.02)
                return True
        return False

    # -- what commands see of the running system (commands.Live); called in the scribe's thread ---------------------

    def holds(self) -> list[dict[str, Any]]:
        found = [
            (instance, where, held) for instance, tail in self._tails.items() for where, held in tail.holds.items()
        ]
        with self.store.begin() as conn:
            place_of = places(conn, (lease_id for _, _, held in found for lease_id, _ in held.on))
        return [
            {
                "id": f"{instance}-{where.segment}-{where.offset}",
                "instance": instance,
                "ts_us": held.ts,
                "key_id": held.key,
                "provider": held.provider,
                "model": held.model,
                "credential": held.credential,
                "nusd": held.nusd,
                "tokens": held.tokens,
                "charges": charges(held.on, place_of),
                "state": "open",
                "reason": "",
            }
            for instance, where, held in found
        ]

    def flush(self) -> None:
        self.book_all()

    def status(self) -> dict[str, Any]:
        with self.store.begin() as conn:
            seq = self.store.seq(conn)
            rows = conn.execute(select(instances).where(instances.c.state == "live")).all()
        gates = []
        for row in rows:
            session = self.sessions.gates.get(row.id)
            fresh = session is not None and session.seq >= seq
            gates.append(
                {
                    "slot": row.slot,
                    "pid": row.pid,
                    "instance": row.id,
                    "fresh": fresh,
                    "seq": session.seq if session else 0,
                }
            )
        return {"gates": gates, "seq": seq, "clock_frozen": self.watch.frozen, "now": iso(self.clock.now_us())}


def _ends(conn: Connection) -> dict[str, tuple[int, int]]:
    rows = conn.execute(select(instances).where(instances.c.state != "gone"))
    return {row.id: (row.segment, row.offset) for row in rows}


def _laked(conn: Connection, wanted: dict[str, tuple[int, int]]) -> bool:
    rows = conn.execute(select(instances).where(instances.c.id.in_(list(wanted)))).all()
    return all(row.state == "gone" or (row.lake_segment, row.lake_offset) >= wanted[row.id] for row in rows)


@contextmanager
def _turn(home: Home, ready_fd: int | None) -> Iterator[bool]:
    """Control's lock: at once, or with `ready_fd` as soon as the control before gives it up.

    The parent reads from `ready_fd` that this process has nothing left to do but to wait, and then stops the other
    one: so nobody is without control for longer than it takes to open the store.
    """
    if ready_fd is not None:
        os.write(ready_fd, b"ready\n")
        os.close(ready_fd)
    until = time.monotonic() + (0 if ready_fd is None else TAKE_OVER_S)
    while True:
        with lock(home) as held:
            if held or time.monotonic() > until:
                yield held
                return
        time.sleep(TAKE_OVER_POLL_S)


def main(ready_fd: int | None = None) -> int:
    """Run control until it is told to stop; the exit status."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    home = Home.from_environment()
    settings = load(home)
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    home.create()
    # Every command is imported now: once the control before this one is told to stop, the gates wait for the rest.
    commands.names()
    with _turn(home, ready_fd) as held:
        if not held:
            raise UserError(f"another control uses {home.root}", "stop it, or set JACKSTOP_HOME to another folder")
        store = open_store(settings, home)
        try:
            uvloop.run(_run(home, settings, store))
        finally:
            store.close()
    return 0


async def _run(home: Home, settings: Settings, store: Store) -> None:
    await Control(home, settings, store, SystemClock()).run()
