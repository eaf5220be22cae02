"""Control's socket: who is let in, what a gate is told and in which order, and that none holds up the others."""

import asyncio
import os
import socket
from contextlib import suppress

import pytest

from jackstop.control import sessions as module
from jackstop.control.client import socket_path
from jackstop.control.lender import Lender
from jackstop.control.protocol import (
    VERSION,
    Changes,
    Command,
    Frames,
    Granted,
    Heartbeat,
    Hello,
    Need,
    Reply,
    Welcome,
    frame,
)
from jackstop.control.scribe import Scribe
from jackstop.control.sessions import Sessions
from jackstop.keys.policy import KeyRow, LimitRow
from jackstop.secret import Secret
from jackstop.settings import Settings
from jackstop.store.feed import Feed
from tests.control.command_bench import Bench

pytestmark = pytest.mark.anyio
PATIENCE_S = 20


class Node:
    """Control's sessions over a real store, on a real socket."""

    def __init__(self, store, home):
        self.bench = Bench(store, home, Settings())
        self.home = home
        self.attached = []
        self.commands = []
        self.scribe = Scribe(store)
        feed = Feed(self.bench.vault, self.bench.settings)
        self.lender = Lender(self.scribe, feed, self.bench.settings, self.bench.clock)
        clock = self.bench.clock
        self.sessions = Sessions(self.scribe, feed, self.lender, clock, self._attach, self._run_command)
        self.sessions.pepper = Secret(b"the pepper")
        self.sessions.fingerprint_key = Secret(b"the fingerprint key")
        self.sessions.processes = 2
        self.peers = []

    async def _attach(self, hello):
        self.attached.append(hello)

    async def _run_command(self, command, actor):
        self.commands.append((command, actor))
        return Reply(result=command.args)

    async def __aenter__(self):
        self.scribe.start()
        with socket_path(self.home) as path:
            self.server = await asyncio.start_unix_server(self.sessions.serve, path, limit=1 << 20)
        return self

    async def __aexit__(self, *error):
        for peer in self.peers:
            peer.close()
        self.server.close()
        for session in list(self.sessions.gates.values()):
            session.close()
        await self.until(lambda: not self.sessions.gates)
        await asyncio.to_thread(self.scribe.stop)

    async def until(self, condition):
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 -- any condition
                await asyncio.sleep(0.005)

    async def connect(self, **options):
        with socket_path(self.home) as path:
            peer = Peer(*await asyncio.open_unix_connection(path, **options))
        self.peers.append(peer)
        return peer

    async def gate(self, instance="g0", since=0):
        """A gate that has greeted and heard everything: itself, the rows that it got, the last number."""
        peer = await self.connect()
        peer.say(Hello(VERSION, instance, 1, since))
        assert isinstance(await peer.hear(), Welcome)
        rows, seq = await peer.rows()
        return peer, rows, seq


class Peer:
    """The other end of the socket."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer
        self._frames, self._heard = Frames(), []

    def say(self, message):
        self._writer.write(frame(message))

    def write(self, data):
        self._writer.write(data)

    async def hear(self):
        """The next message, None at the end."""
        async with asyncio.timeout(PATIENCE_S):
            while not self._heard:
                data = await self._reader.read(1 << 16)
                if not data:
                    return None
                self._heard += self._frames.feed(data)
        return self._heard.pop(0)

    async def rows(self):
        """Every row of the snapshot, to the heartbeat that says that this is all."""
        rows, seq = [], 0
        while isinstance(message := await self.hear(), Changes):
            rows += message.rows
            seq = message.seq
        assert isinstance(message, Heartbeat)
        assert message.seq == seq
        return rows, seq

    async def changes(self):
        """The rows of the next changes; heartbeats pass by."""
        while isinstance(message := await self.hear(), Heartbeat):
            pass
        assert isinstance(message, Changes)
        return message.rows

    def close(self):
        self._writer.close()


@pytest.fixture
async def node(store, home):
    async with Node(store, home) as made:
        yield made


def names(rows):
    return [row.name for row in rows if isinstance(row, KeyRow)]


# -- who is let in --------------------------------------------------------------------------------------------------


async def test_a_gate_is_welcomed_with_what_it_needs_and_then_all_rows(node):
    node.bench.issue(name="one")
    peer = await node.connect()
    peer.say(Hello(VERSION, "g0", 4711, slot=1, end=(0, 180)))
    assert await peer.hear() == Welcome(VERSION, b"the pepper", b"the fingerprint key", module.HEARTBEAT_MS, 2)
    rows, seq = await peer.rows()
    assert names(rows) == ["one"]
    assert isinstance(rows[0], LimitRow)
    assert seq > 0
    assert node.attached == [Hello(VERSION, "g0", 4711, slot=1, end=(0, 180))]
    assert list(node.sessions.gates) == ["g0"] == list(node.lender.peers)


async def test_the_snapshot_is_complete_only_with_its_last_message(node):
    node.bench.issue()
    peer = await node.connect()
    peer.say(Hello(VERSION, "g0", 1))
    await peer.hear()
    more = []
    while isinstance(message := await peer.hear(), Changes):
        more.append(message.more)
    assert more
    assert more == [True] * (len(more) - 1) + [False]


async def test_the_version_before_is_accepted(node, monkeypatch):
    monkeypatch.setattr(module, "VERSION", VERSION + 1)
    monkeypatch.setattr(module, "OLDEST_VERSION", VERSION)
    peer = await node.connect()
    peer.say(Hello(VERSION, "g0", 1))
    welcome = await peer.hear()
    assert welcome.version == VERSION + 1


@pytest.mark.parametrize("version", [0, VERSION + 1, VERSION + 2, -1])
async def test_an_unknown_version_is_refused(node, version):
    peer = await node.connect()
    peer.say(Hello(version, "g0", 1))
    assert await peer.hear() is None
    assert not node.attached
    assert not node.sessions.gates


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\x04nope",
        b"\xff\xff\xff\xff",
        frame(Need(1, 0, 1, 1)) + frame(Granted(1, 0, 1, 5)),
        frame(Welcome(1, b"", b"", 1, 1)),
    ],
    ids=["another protocol", "no message", "too long", "a need unknown", "control's own words"],
)
async def test_nonsense_gets_no_answer_and_harms_nobody(node, data):
    peer, _, _ = await node.gate()
    other = await node.connect()
    other.write(data)
    other._writer.write_eof()
    assert await other.hear() is None
    node.bench.issue(name="after")
    await node.sessions.publish()
    assert "after" in names(await peer.changes())


async def test_a_gate_that_says_what_only_control_says_is_cut_off(node):
    peer, _, _ = await node.gate()
    peer.say(Heartbeat(1, 1))
    assert await peer.hear() is None
    await node.until(lambda: not node.sessions.gates)
    assert not node.lender.peers


async def test_a_command_is_run_as_the_user_who_gave_it(node):
    peer = await node.connect()
    peer.say(Command("key list", {"after": ""}))
    assert await peer.hear() == Reply(result={"after": ""})
    assert node.commands == [(Command("key list", {"after": ""}), f"os:{os.getuid()}")]


async def test_another_user_is_not_answered(node, monkeypatch):
    if os.getuid():
        monkeypatch.setattr(module.os, "getuid", lambda: 4_294_967_294)
        peer = await node.connect()
        peer.say(Command("key list", {}))
        assert await peer.hear() is None
    else:
        assert await asyncio.to_thread(_ask_as_nobody, node.home.control_socket) == b""
    assert not node.commands


def _ask_as_nobody(path):
    """What a process of another user gets for a command. It is forked, and leaves by the shortest way."""
    for folder in (path, *path.parents):
        if folder.owner() == "root" and folder.name:
            folder.chmod(folder.stat().st_mode | (0o666 if folder == path else 0o111))
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        with suppress(BaseException):
            os.chdir(path.parent)
            os.setgroups([])
            os.setuid(65_534)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(PATIENCE_S)
                sock.connect(path.name)
                os.write(writing, b"connected")
                sock.sendall(frame(Command("key list", {})))
                os.write(writing, sock.recv(1 << 16))
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading, "rb") as heard:
        connected = heard.read()
    assert connected.startswith(b"connected")
    return connected.removeprefix(b"connected")


# -- rows ------------------------------------------------------------------------------------------------------------


async def test_a_gate_that_comes_back_gets_what_it_has_missed(node):
    node.bench.issue(name="before")
    peer, rows, seq = await node.gate()
    assert names(rows) == ["before"]
    peer.close()
    await node.until(lambda: not node.sessions.gates)
    node.bench.issue(name="meanwhile")
    _, rows, later = await node.gate(since=seq)
    assert names(rows) == ["meanwhile"]
    assert later > seq


async def test_what_changes_goes_to_every_gate_before_the_next_heartbeat(node):
    gates = [(await node.gate(f"g{number}"))[0] for number in range(3)]
    issued = node.bench.issue(name="new")
    await node.sessions.publish()
    node.bench.run("key quarantine", id=issued["id"])
    await node.sessions.publish()
    node.sessions.beat()
    for gate in gates:
        assert names(await gate.changes()) == ["new"]
        (row,) = await gate.changes()
        assert (row.id, row.state) == (issued["id"], "quarantined")
        assert isinstance(await gate.hear(), Heartbeat)


async def test_nothing_new_is_nothing_to_say(node):
    gate, _, _ = await node.gate()
    await node.sessions.publish()
    node.sessions.beat()
    assert isinstance(await gate.hear(), Heartbeat)


async def test_a_gate_that_stopped_reading_holds_up_neither_commands_nor_the_others(node, monkeypatch):
    monkeypatch.setattr(module, "PUBLISH_S", 0.01)
    stopped = await node.connect(limit=1)
    stopped.say(Hello(VERSION, "stopped", 1))
    await node.until(lambda: "stopped" in node.sessions.gates)
    running, _, _ = await node.gate("running")
    keys = 0
    while not node.sessions.gates["stopped"].feeding.locked():
        node.bench.issue(name=f"key {keys} {'n' * 80}", model=[f"model-{n}-{'x' * 1_000}" for n in range(100)])
        keys += 1
        await node.sessions.publish()
    heard = []
    while len(heard) < keys:
        heard += names(await running.changes())
    assert [int(name.split()[1]) for name in heard] == list(range(keys))
    node.bench.issue(name="the last one")
    await node.sessions.publish()
    assert names(await running.changes()) == ["the last one"]
    assert isinstance(await stopped.hear(), Welcome)
    heard = []
    while "the last one" not in heard:
        message = await stopped.hear()
        if isinstance(message, Changes):
            heard += names(message.rows)
    assert len(heard) == keys + 1


async def test_a_second_greeting_of_an_instance_replaces_the_first(node):
    first, _, _ = await node.gate("same")
    second, _, _ = await node.gate("same")
    assert await first.hear() is None
    node.bench.issue(name="new")
    await node.sessions.publish()
    assert names(await second.changes()) == ["new"]
    assert list(node.sessions.gates) == ["same"] == list(node.lender.peers)


async def test_a_need_is_answered_on_the_connection_that_asked(node):
    node.bench.issue(budget=["5usd/life"])
    gate, rows, _ = await node.gate()
    (limit,) = [row for row in rows if isinstance(row, LimitRow)]
    gate.say(Need(limit.id, 1, 1_000, 2_000))
    granted = await gate.hear()
    assert (granted.limit_id, granted.window_us, granted.amount, granted.exhausted) == (limit.id, 1, 2_000, False)
    gate.say(Need(999, 1, 1_000, 2_000))
    assert await gate.hear() == Granted(999, 1, 0, 0, exhausted=True, unknown=True)
