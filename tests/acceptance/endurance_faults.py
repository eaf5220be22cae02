"""What goes wrong in a long run, one thing after the other, and that everything is back after each."""

import os
import signal
import socket
import time
import traceback
from collections import Counter
from contextlib import suppress

from tests.acceptance.reckoning import check_now
from tests.acceptance.sockets import connect, post, talk, to_the_end
from tests.acceptance.system import until
from tests.acceptance.test_hostile import WIRE
from tests.acceptance.traffic import chat

WHOLE_S = 90
"""Until everything has to run again, whatever happened."""


class Faults:
    """What goes wrong, one thing after the other; `scale` shortens how long each of it lasts."""

    SOFT = (
        *("provider errors", "provider resets", "slow provider", "control stops", "full disk"),
        *("slow clients", "malformed"),
    )
    HARD = ("kill gate", "kill control", "kill worker", "stop gate", "stop control", "stop worker", "kill several")

    def __init__(self, system, records, chance, stop, scale=1.0):
        self._system, self._records, self._chance, self._stop = system, records, chance, stop
        self._scale = scale
        self._bag = []
        self.spared = set()
        self.done, self.ended = Counter(), Counter()
        self.back_s = []
        self.wrong = []
        self.looks = 0

    def any(self, *, reload):
        """Do one of the things that have not been done for longest; notes what did not hold."""
        if not self._bag:
            self._bag = [*self.SOFT, *self.HARD, "reload"]
            self._chance.shuffle(self._bag)
        possible = [name for name in self._bag if self._possible(name, reload=reload)]
        if not possible:
            self._bag = []
            return
        name = possible[0]
        self._bag.remove(name)
        self.done[name] += 1
        self.note(name, lambda: self._do(name))
        self.note(f"after {name}", self._look)

    def _possible(self, name, *, reload):
        if name == "reload":
            return reload
        return name in self.SOFT or bool(self._victims(self._kinds(name)))

    @staticmethod
    def _kinds(name):
        kind = name.partition(" ")[2]
        return ["gate", "control", "worker"] if kind == "several" else [kind]

    def note(self, when, act):
        """Do something; what fails in it is written down, and the run goes on."""
        try:
            act()
        except Exception as error:
            traceback.print_exc()
            self.wrong.append(f"{when}: {type(error).__name__}: {error}"[:300])

    def _look(self):
        """Everything runs again, and nobody's bill is beyond the books or a limit."""
        began = time.monotonic()
        self._system.wait_whole(WHOLE_S)
        self.back_s.append(time.monotonic() - began)
        check_now(self._system)
        self.looks += 1

    def _do(self, name):
        if name in self.HARD:
            how = signal.SIGTERM if name.startswith("stop") else signal.SIGKILL
            self._end(self._kinds(name), how, self._chance.choice((2, 3)) if name == "kill several" else 1)
        else:
            getattr(self, "_" + name.replace(" ", "_"))()

    def _victims(self, kinds):
        children = self._system.children()
        return [pid for kind in kinds for pid in children[kind] if pid not in self.spared]

    def _end(self, kinds, how, count):
        """End some processes of these kinds, but none that is spared."""
        found = self._victims(kinds)
        ended = self._chance.sample(found, min(count, len(found)))
        for pid in ended:
            os.kill(pid, how)
            self.ended[how.name] += 1
        until(lambda: not set(ended) & set(self._victims(kinds)), "they end", WHOLE_S)

    def _reload(self):
        before = {pid for pids in self._system.children().values() for pid in pids}
        os.kill(self._system.process.pid, signal.SIGHUP)
        gone = lambda: not before & {pid for pids in self._system.children().values() for pid in pids}  # noqa: E731
        until(gone, "everything is replaced", WHOLE_S)

    def _wait(self, low, high):
        self._stop.wait(self._scale * (low + (high - low) * self._chance.random()))

    def _mode(self, low, high, **fields):
        self._system.sandbox.set_mode(**fields)
        try:
            self._wait(low, high)
        finally:
            self._system.sandbox.set_mode()

    def _provider_errors(self):
        self._mode(3, 8, status=self._chance.choice((429, 500, 503)))

    def _provider_resets(self):
        self._mode(1, 3, **self._chance.choice(({"cut_after": 1}, {"cut_after": 3}, {"half_headers": 1})))

    def _slow_provider(self):
        self._mode(5, 10, latency_ms=2_000, pace_ms=40)

    def _control_stops(self):
        (control,) = self._system.children()["control"]
        os.kill(control, signal.SIGSTOP)
        try:
            self._wait(1, 8)
        finally:
            with suppress(ProcessLookupError):
                os.kill(control, signal.SIGCONT)

    def _full_disk(self):
        full, before = self._system.places / "full", self._records.reasons["journal"]
        full.touch()
        try:
            end = time.monotonic() + 40 * self._scale
            while time.monotonic() < end and self._records.reasons["journal"] == before and not self._stop.is_set():
                self._stop.wait(0.5)
            self._wait(1, 3)
        finally:
            full.unlink()

    def _slow_clients(self):
        """Streams that are read by drops, to the end or not."""
        ask = chat("openai", 4_000, stream=True, out=2_000, chunk=4)
        request = post(self._system.rich["openai"].key, ask.body, "Connection: close")
        socks = [connect(self._system.port) for _ in range(3)]
        try:
            for sock in socks:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                sock.sendall(request)
            for _ in range(int(100 * self._scale)):
                for sock in socks:
                    with suppress(ConnectionResetError):
                        sock.recv(256)
                self._stop.wait(0.05)
            to_the_end(socks[0]) if self._chance.random() < 0.5 else None
        finally:
            for sock in socks:
                sock.close()

    def _malformed(self):
        """Requests that no two programs read alike, half a request, and unknown keys: none may be served."""
        key = self._system.rich["openai"].key
        for lines, body, _ in self._chance.sample(list(WIRE.values()), 8):
            raw = "\r\n".join([*lines, "", ""]).format(key=key).encode("latin-1") + body
            self._refused(talk(self._system.port, raw))
        self._refused(talk(self._system.port, post("jsk_unknown", b"{}", "Connection: close")))
        self._refused(talk(self._system.port, post(key, b'{"model": "a", "model": "b"}', "Connection: close")))
        with connect(self._system.port) as sock:
            sock.sendall(post(key, b"{" * 1_000)[:-500])

    def _refused(self, answer):
        assert answer[:12] in {b"HTTP/1.1 %d" % status for status in (400, 401, 405, 411, 415, 417, 431, 505)}, answer
