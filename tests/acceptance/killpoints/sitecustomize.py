"""Kills a process of the system under test at a chosen place in its own code; nothing of this is in the program.

It is on the PYTHONPATH of that system and does nothing without JACKSTOP_KILLPOINTS, the path of a folder. A file
`arm-GAP` there, holding a number n, arms a gap: the process that comes there for the n-th time since takes the file
away, leaves `killed-GAP` with its pid, and sends itself SIGKILL. `boot`, if it is there, stands for the machine's boot
id, and `full` for a disk without room for another segment. Each journal's last sync is kept in `synced-INSTANCE`
as segment and offset.
"""

import asyncio
import contextlib
import errno
import functools
import importlib.abc
import os
import signal
import sys
from pathlib import Path

FOLDER = os.environ.get("JACKSTOP_KILLPOINTS", "")
SOON_S = 0.003
"""Long enough for the event loop to hand over to the kernel what was written."""
_counts = {}


def _due(gap):
    """Whether this is the time to die here."""
    path = f"{FOLDER}/arm-{gap}"
    try:
        armed = Path(path).stat().st_mtime_ns
    except FileNotFoundError:
        return False
    since, count = _counts.get(gap, (0, 0))
    count = count + 1 if since == armed else 1
    _counts[gap] = (armed, count)
    try:
        if count < int(Path(path).read_text() or 1):
            return False
        Path(path).rename(f"{FOLDER}/killed-{gap}.{os.getpid()}")
    except FileNotFoundError:
        return False  # another process was quicker
    return True


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def come(gap, *, soon=False):
    """The process comes to this place."""
    if _due(gap):
        if soon:
            asyncio.get_running_loop().call_later(SOON_S, _die)
        else:
            _die()


def after(owner, name, gap, *, when=lambda result, *args, **options: True, soon=False):
    """Come to `gap` whenever this function has returned something for which `when` holds."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args, **options):
        result = original(*args, **options)
        if when(result, *args, **options):
            come(gap, soon=soon)
        return result

    setattr(owner, name, wrapped)


def after_await(owner, name, gap, *, when=lambda result, *args, **options: True, soon=False):
    """The same for a coroutine function."""
    original = getattr(owner, name)

    @functools.wraps(original)
    async def wrapped(*args, **options):
        result = await original(*args, **options)
        if when(result, *args, **options):
            come(gap, soon=soon)
        return result

    setattr(owner, name, wrapped)


def before(owner, name, gap):
    """Come to `gap` whenever this function is called."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args, **options):
        come(gap)
        return original(*args, **options)

    setattr(owner, name, wrapped)


def _journal(module):
    journal = module.Journal
    after(journal, "hold", "hold-written")
    after(journal, "event", "event-written", when=lambda _, _self, record: record.hold is not None)
    after(journal, "append", "grant-journaled", when=lambda _, _self, r: type(r).__name__ == "Leased" and r.amount > 0)
    after(journal, "append", "return-journaled", when=lambda _, _self, r: type(r).__name__ == "Leased" and r.amount < 0)
    _other_boot(module)
    _full_disk(module)
    sync = journal.sync

    def noted(self):
        sync(self)
        path = Path(FOLDER, f"synced-{self.instance}")
        with contextlib.suppress(OSError):  # this folder's disk may be full, too
            path.with_suffix(".new").write_text(f"{self.synced.segment} {self.synced.offset}")
            path.with_suffix(".new").rename(path)

    journal.sync = noted


def _full_disk(module):
    allocate = module.os.posix_fallocate

    def posix_fallocate(*args):
        if Path(FOLDER, "full").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        allocate(*args)

    module.os.posix_fallocate = posix_fallocate


def _other_boot(module):
    real = module.boot_id

    def boot_id():
        try:
            return Path(FOLDER, "boot").read_text()
        except FileNotFoundError:
            return real()

    module.boot_id = boot_id


def _upstream(module):
    after(module.Upstream, "send", "request-sent", soon=True)


def _exchange(module):
    before(module.Exchange, "_begin_answer", "first-byte-received")
    after(module.Exchange, "_complete", "last-byte-sent", soon=True)


def _entry(module):
    after(module, "charge", "usage-read", when=lambda due, *_, **__: not due.estimated and not due.released)


def _lender(module):
    after_await(module.Lender, "_grant", "grant-committed", when=lambda grant, *_, **__: grant.amount > 0)
    after_await(module.Lender, "need", "grant-sent", soon=True)
    after_await(module.Lender, "returned", "return-committed")


def _booking(module):
    after(module.Tail, "book", "journal-read", when=lambda booked, *_: booked.records > 0)
    before(module.Tail, "recover", "dead-gate-claimed")
    after(module.Tail, "recover", "dead-gate-read")
    _other_boot(module)


def _control(module):
    after(module.Control, "_book", "booked", when=lambda records, *_: records > 0)
    after(module.Control, "_bury", "dead-gate-booked")


def _worker(module):
    after(module, "write", "parquet-renamed", when=lambda end, _journals, _lake, _instance, start, *_: end > start)


def _intake(module):
    before(module, "_fold", "finding-written")


def _states(module):
    after(module, "open_case", "case-opened")


def _responses(module):
    after(module, "_insert", "response-intended")
    after(module, "apply", "response-applied", when=lambda done, *_, **__: done)
    after(module, "end", "response-ended")


def _announce(module):
    after(module, "announce", "news-queued")


def _findings(module):
    after(module, "report", "report-committed", when=lambda result, *_, **__: result["taken"] > 0)
    module.COMMANDS["findings report"] = module.report


def _outbox(module):
    after(module, "done", "delivery-committed")
    module.COMMANDS["outbox done"] = module.done


def _watch(module):
    report = module.Round._report

    def noted(self):
        found = bool(self._unreported)
        if found:
            come("finding-found")
        report(self)
        if found:
            come("finding-reported")

    module.Round._report = noted


def _sender(module):
    before(module.Sender, "_deliver", "news-taken")
    before(module.Sender, "_report", "news-sent")


def _steps(module):
    perform = module.perform

    @functools.wraps(perform)
    def wrapped(task, now_us):
        come(f"rotation-{task.step}-begins")
        outcome = perform(task, now_us)
        if outcome.ending == "done":
            come(f"rotation-{task.step}-done")
        return outcome

    module.perform = wrapped


def _advance(module):
    after(module, "_switch", "rotation-switching")
    after(module, "_take_standby", "rotation-taking-standby")


def _rotation(module):
    record, take, advance = module.record, module.take, module.advance
    switched = []

    @functools.wraps(record)
    def recorded(ctx, args):
        result = record(ctx, args)
        if args["outcome"]["ending"] == "done":
            come(f"rotation-{args['step']}-recorded")
        return result

    @functools.wraps(take)
    def taken(ctx, args):
        switched.clear()
        result = take(ctx, args)
        if switched:
            come("rotation-switched")
        if result["tasks"]:
            come("rotation-given")
        return result

    switch = advance._switch
    advance._switch = lambda *args: switched.append(True) or switch(*args)
    module.COMMANDS |= {"rotation record": recorded, "rotation take": taken}


def _parent(module):
    # Killed in earnest a process rests longer and longer before it is started again; here it has no blame.
    module.STEADY_S = 0.0


PLACES = {
    "jackstop.gate.journal": _journal,
    "jackstop.gate.upstream": _upstream,
    "jackstop.gate.exchange": _exchange,
    "jackstop.gate.entry": _entry,
    "jackstop.gate.parent": _parent,
    "jackstop.control.lender": _lender,
    "jackstop.control.clockwatch": _other_boot,
    "jackstop.control.process": _control,
    "jackstop.events.worker": _worker,
    "jackstop.events.watch": _watch,
    "jackstop.notify.sender": _sender,
    "jackstop.cases.intake": _intake,
    "jackstop.cases.states": _states,
    "jackstop.cases.responses": _responses,
    "jackstop.cases.announce": _announce,
    "jackstop.control.commands.findings": _findings,
    "jackstop.control.commands.outbox": _outbox,
    "jackstop.control.commands.rotation": _rotation,
    "jackstop.rotation.advance": _advance,
    "jackstop.rotation.steps": _steps,
    "jackstop.ledger.booking": _booking,
}


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules with places as Python does, and puts the places in once they are there."""

    def find_spec(self, name, path, target=None):
        if name not in PLACES:
            return None
        specs = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module):
                run(module)
                PLACES[name](module)

            spec.loader.exec_module = exec_module
        return spec


if FOLDER:
    sys.meta_path.insert(0, Finder())
