"""From a thousand keys to a million: memory, start, one change, and the longest pauses of the two loops.

And from one gate process to two. The program is the real one, `jackstop up`; every key has a budget of its own. Only
the keys come in a way of their own: straight into the store, with control stopped, in one transaction.
"""

import http.client
import os
import re
import signal
import statistics
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from sqlalchemy import insert, update

from bench import generator
from bench.peers import jackstop as peer
from bench.record import Table
from jackstop.control import client
from jackstop.errors import UserError
from jackstop.keys import format as key_format
from jackstop.keys.issue import add_person
from jackstop.settings import Home, load
from jackstop.store import tables
from jackstop.store.engine import open_store
from jackstop.vault.credentials import load_pepper
from jackstop.vault.kek import open_vault
from tests.acceptance.system import System, answers, until

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 10_000)
ORGANISATION = ("1000000usd/day", "2000000usd/day")
KEY_BUDGET = 20 * 10**9
OWNERS = 1_000
TEAMS = 20
PORTION = 20_000
PING_S = 0.002
CHANGES = 20
USED = 100_000
"""At most so many keys make a request each; a gate keeps more of a key that is in use."""
READY_S = 600
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "How do bees find home?"}], "max_tokens": 50}
REST_S = 5
USE_S = 10
CONNECTIONS = 64
FIRST_CONNECTIONS = 16
SETTLE_S = 6
KEYS = 1_000


# -- keys -----------------------------------------------------------------------------------------------------------


def fill(home, count):
    """`count` keys of many owners and teams, each with a budget a day; the keys themselves."""
    settings = load(home)
    with client.lock(home) as held:
        assert held, "control has to be stopped"
        store = open_store(settings, home)
        with store.begin() as conn:
            pepper = load_pepper(conn, open_vault(settings, home)).reveal()
            now_us, seq = time.time_ns() // 1000, store.seq(conn)
            owners = [add_person(conn, f"owner-{number}@example.com", "owner", now_us) for number in range(OWNERS)]
            teams = [{"name": f"team-{number}", "created_us": now_us} for number in range(TEAMS)]
            conn.execute(insert(tables.teams), teams)
            keys = []
            for first in range(0, count, PORTION):
                rows = [_key(pepper, number, owners, now_us) for number in range(first, min(first + PORTION, count))]
                keys += [key for key, _ in rows]
                for row, (_, key) in enumerate(rows):
                    key["seq"] = seq + 2 * row + 2
                limits = [_limit(key["id"], key["seq"] - 1) for _, key in rows]
                conn.execute(insert(tables.limits), limits)
                conn.execute(insert(tables.keys), [key for _, key in rows])
                seq += 2 * len(rows)
            conn.execute(update(tables.meta).where(tables.meta.c.key == "seq").values(value=str(seq)))
        store.close()
    return keys


def _key(pepper, number, owners, now_us):
    """A key in clear, for the clients, and its row."""
    key_id = f"{number:012d}"
    body = f"{key_format.PREFIX}{key_format.VERSION}{key_id}_{os.urandom(13).hex()}b".encode()
    key = body + key_format.checksum(body)
    row = {"id": key_id, "digest": key_format.digest(pepper, key), "owner_id": owners[number % OWNERS], "retiring": []}
    row |= {"team": f"team-{number % TEAMS}", "name": f"application {number}", "state": "live", "created_us": now_us}
    return key.decode(), {**row, "policy": {"providers": ["openai"], "models": ["gpt-4o*", "gpt-4.1*"]}}


def _limit(key_id, seq):
    return {"scope": f"key:{key_id}", "kind": "usd", "amount": KEY_BUDGET, "window": "day", "seq": seq}


# -- the loops' pauses ----------------------------------------------------------------------------------------------


class Pings(threading.Thread):
    """Asks every PING_S and keeps how long each answer took. `own` are the delays of this thread itself."""

    def __init__(self, ask):
        super().__init__(daemon=True)
        self._ask = ask
        self._stopped = False
        self.took, self.own, self.failed = [], [], 0

    def run(self):
        due = time.perf_counter()
        while not self._stopped:
            begin = time.perf_counter()
            self.own.append(begin - due)
            try:
                self._ask()
                self.took.append(time.perf_counter() - begin)
            except (OSError, http.client.HTTPException, UserError):
                self.failed += 1
            due = max(time.perf_counter(), begin + PING_S)
            time.sleep(max(0, due - time.perf_counter()))

    def stop(self):
        self._stopped = True
        self.join()


class GatePing:
    """`GET /healthz` over a connection that is kept, and made anew once where the gate has closed it."""

    def __init__(self, port):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def __call__(self):
        try:
            self._look()
        except (ConnectionError, http.client.HTTPException):
            self._connection.close()
            self._look()

    def _look(self):
        self._connection.request("GET", "/healthz")
        self._connection.getresponse().read()


class ControlPing:
    """A question that control's loop answers itself, without its store: a wait for the lake of no length."""

    def __init__(self, home):
        self._home = home

    def __call__(self):
        client.ask(self._home, "lake wait", {"seconds": 0})


@contextmanager
def pinged(system, phases, name):
    """Keep the longest pauses of both loops over the block, under `name`."""
    both = Pings(GatePing(system.port)), Pings(ControlPing(Home(system.home)))
    for each in both:
        each.start()
    try:
        yield
    finally:
        for each in both:
            each.stop()
        gate, control = both
        own = max(max(each.own, default=0.0) for each in both)
        phases.append([name, len(gate.took), _ms(gate.took), _ms(control.took), own * 1e3, gate.failed, control.failed])


def _ms(durations):
    return max(durations, default=0.0) * 1e3


# -- one size -------------------------------------------------------------------------------------------------------


class Grown(System):
    """Jackstop with so many keys; its start may take long."""

    def wait_ready(self):
        until(lambda: answers(f"{self.url}/readyz") and len(self.gates()) >= self.workers, "a ready gate", READY_S)

    def ask(self, command, /, **args):
        return client.ask(Home(self.home), command, args)

    @property
    def control(self):
        (pid,) = self.children()["control"]
        return pid


@contextmanager
def grown(folder, count, upstream):
    """A system that knows `count` keys and runs, those keys, and how long it took from its start until it was ready."""
    folder.mkdir()
    system = Grown(folder, 1, {"JACKSTOP_LOG_LEVEL": "warning"}, SimpleNamespace(stop=lambda: None))
    system.command("init", "--admin", "admin@example.com")
    add = ("credential", "add", "main", "--provider", "openai", "--base-url", upstream)
    system.command(*add, stdin="sk-upstream-of-the-bench\n")
    try:
        system.up()
        system.ask("budget set", scope="org", amount=ORGANISATION[0])
        system.stop()
        keys = fill(Home(system.home), count)
        begin = time.monotonic()
        system.up()
        yield system, keys, time.monotonic() - begin
    finally:
        system.stop()


def one_size(folder, count, upstream):
    """Everything about one number of keys: a row of the first table, and rows of the second."""
    pauses = []
    with grown(folder, count, upstream) as (system, keys, ready_s):
        (gate,) = system.gates()
        resident, most = memory_mib(gate)
        with pinged(system, pauses, f"nothing, {REST_S} s"):
            time.sleep(REST_S)
        with pinged(system, pauses, f"{CHANGES} keys quarantined"):
            changed = [quarantine(system, keys[number]) for number in range(CHANGES)]
        with pinged(system, pauses, "the organisation's limit changed"):
            system.ask("budget set", scope="org", amount=ORGANISATION[1])
            time.sleep(1)
        with pinged(system, pauses, f"{CHANGES} keys issued"):
            for number in range(CHANGES):
                system.ask("key issue", owner="owner-0@example.com", name=f"late {number}")
        with pinged(system, pauses, "first requests of many keys"):
            used, failed = use(system, keys[CHANGES : CHANGES + USED])
        in_use, _ = memory_mib(gate)
        with pinged(system, pauses, f"nothing, {REST_S} s, with {used:,} keys in use"):
            time.sleep(REST_S)
        with pinged(system, pauses, "a reload: a new control, a new gate beside the old"):
            reload(system, gate)
        (gate,) = system.gates()
        control, _ = memory_mib(system.control)
    database = (system.home / "jackstop.db").stat().st_size / 2**20
    found = [count, database, ready_s, resident, most, used, failed, in_use, control]
    return [*found, statistics.median(changed) * 1e3, max(changed) * 1e3], [[count, *row] for row in pauses]


def memory_mib(pid):
    """Resident memory in MiB, now and at the most."""
    text = Path(f"/proc/{pid}/status").read_text()
    return [int(re.search(rf"{name}:\s+(\d+)", text).group(1)) / 1024 for name in ("VmRSS", "VmHWM")]


def quarantine(system, key):
    """Seconds from the command's begin until the gate refuses the key as quarantined."""
    seen = []

    def look():
        while refused_for(system.port, key) != "quarantined":
            time.sleep(0.001)
        seen.append(time.perf_counter())

    assert refused_for(system.port, key) != "quarantined"
    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    begin = time.perf_counter()
    system.ask("key quarantine", id=key[len("jsk_1") :][: key_format.ID_CHARS])
    looking.join(30)
    return seen[0] - begin


def refused_for(port, key):
    """Why the gate refuses a path that no provider has; the key's state comes before it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/openai/v1/nothing", headers={"authorization": f"Bearer {key}"})
        return connection.getresponse().headers["x-jackstop-reason"]
    finally:
        connection.close()


def use(system, keys):
    """A request with one key after the other, as fast as leases come; how many keys were used, and how many failed."""
    headers = [f"authorization: Bearer {key}" for key in keys]
    target = generator.Target(system.port, path="/openai/v1/chat/completions", headers=headers)
    done = generator.rate(target, CHAT, rps=0, connections=FIRST_CONNECTIONS, seconds=USE_S)
    return min(len(keys), done["sent"]), done["sent"] - done["ok"]


def reload(system, gate):
    """Replace control and gate, and wait until the gate is another one."""
    os.kill(system.process.pid, signal.SIGHUP)
    until(lambda: len(system.gates()) == 1 and system.gates() != [gate], "another gate", READY_S)


def growth(folder, quick):
    """Every size, one after the other."""
    found, pauses = [], []
    with generator.serve() as upstream:
        for count in QUICK_SIZES if quick else SIZES:
            row, phases = one_size(folder / str(count), count, upstream.url)
            found.append(row)
            pauses += phases
    yield Table(
        "More keys, one gate process",
        [
            "keys",
            "database, MiB",
            "start to ready, s",
            "gate, MiB",
            "at the most, MiB",
            f"keys used in {USE_S} s",
            "of the requests failed",
            "gate with them in use, MiB",
            "control, MiB",
            "one change, median ms",
            "longest ms",
        ],
        found,
        "Each key with a budget a day, a provider and two globs for models. Start: from `jackstop up` until every gate "
        "answers `/readyz` with 200. Memory: resident, of one process. One change: from the beginning of "
        "`key quarantine` over control's socket, with its commit, until the gate refuses the key.",
    )
    yield Table(
        "Longest pauses while it runs",
        ["keys", "while", "looks", "gate, ms", "control, ms", "the observer itself, ms", "gate failed", "control away"],
        pauses,
        f"Longest answer of the gate to `GET /healthz` on a kept connection, and of control to a question that its "
        f"loop answers alone, each asked every {PING_S * 1e3:.0f} ms from the same two cores; the observer's own "
        "delays tell how busy those were.",
    )


# -- gate processes -------------------------------------------------------------------------------------------------


def gates(folder, quick):
    """Requests per second of one gate process and of two."""
    cores = sorted(os.sched_getaffinity(0))
    rows = []
    with generator.serve(core=cores[-1]) as upstream:
        for workers in (1, 2):
            running = peer.start(None, folder / str(workers), upstream.url, cores=set(cores[:workers]), workers=workers)
            try:
                rows.append(_rate(running, workers, 3 if quick else 15, cores[-1]))
            finally:
                running.stop()
    yield Table(
        "One gate process and two",
        [
            "processes",
            "requests/s",
            "not 200",
            "gate time for a request, µs",
            "so many would fill their cores",
            "p99, ms",
        ],
        rows,
        f"{CONNECTIONS} connections in a closed loop, {KEYS} keys, after {SETTLE_S} s in which both get leases of all "
        f"keys. The first gate has core {cores[0]}; the generator and the upstream share core {cores[-1]}, with the "
        "second gate where there are but two cores: what two gates answer is then bounded by the machine. Gate time is "
        "processor time, user and system, of all gate processes; the column after it is processes / that time, "
        "reckoned and not measured.",
    )


def _rate(running, workers, seconds, core):
    generator.rate(running, CHAT, rps=0, connections=CONNECTIONS, seconds=SETTLE_S, core=core)
    before = running.cpu_s()
    done = generator.rate(running, CHAT, rps=0, connections=CONNECTIONS, seconds=seconds, core=core)
    took_us = (running.cpu_s() - before) * 1e6 / max(1, done["sent"])
    filled = round(workers * 1e6 / took_us)
    return [workers, done["rps"], done["sent"] - done["ok"], took_us, filled, done["latency_us"]["p99"] / 1e3]


SECTIONS = {
    "growth": ("From a thousand keys to a million", growth),
    "gates": ("One gate process and two", gates),
}
PEERS = ("jackstop",)
