"""A system to be broken: its processes die at chosen places, journals are kept aside, a key has its own credential."""

import os
import secrets
import signal
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import create_engine, select

from jackstop.control import client
from jackstop.errors import UserError
from jackstop.sandbox.bill import fingerprint
from jackstop.settings import Home
from jackstop.store.tables import limits, windows
from tests.acceptance.system import System, get, until
from tests.replay import replay_all

KILLPOINTS = Path(__file__).with_name("killpoints")
GATE_GAPS = (
    *("hold-written", "request-sent", "first-byte-received", "usage-read", "event-written", "last-byte-sent"),
    *("grant-journaled", "return-journaled"),
)
CONTROL_GAPS = ("grant-committed", "grant-sent", "journal-read", "booked", "return-committed")
BURIAL_GAPS = ("dead-gate-claimed", "dead-gate-read", "dead-gate-booked")
"""Places in control that it comes to when a gate has died."""
WORKER_GAPS = ("parquet-renamed",)
GAPS = (*GATE_GAPS, *CONTROL_GAPS, *BURIAL_GAPS, *WORKER_GAPS)


class Keeper:
    """Links every segment of every journal into a folder of its own, where control's tidying does not reach it."""

    def __init__(self, journals, kept):
        self._journals, self.kept = journals, kept
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.wait(0.1):
            self.look()

    def look(self):
        for folder in list(self._journals.iterdir()) if self._journals.exists() else []:
            with suppress(FileNotFoundError):  # control has just removed it
                for segment in list(folder.glob("*.seg")):
                    self._keep(segment)

    def _keep(self, segment):
        to = self.kept / segment.parent.name / segment.name
        with suppress(FileNotFoundError, FileExistsError):
            if to.exists() and to.samefile(segment):
                return
            # There is none yet, or one that found no room on a full disk and was made anew.
            to.parent.mkdir(parents=True, exist_ok=True)
            new = to.with_suffix(f".{threading.get_ident()}")
            new.hardlink_to(segment)
            new.replace(to)
            new.unlink(missing_ok=True)

    def close(self):
        self._stop.set()
        self._thread.join()
        self.look()


class Holder:
    """A key with a credential of its own, so that the provider's bill for it can be told from all others."""

    def __init__(self, key, key_id, credential, secret, provider):
        self.key, self.id, self.credential, self.provider = key, key_id, credential, provider
        self.on_bill = fingerprint(secret)


class Breakable(System):
    """A system whose processes can be told where to die, and who is told everything over control's socket."""

    def __init__(self, folder, workers=2, environment=None, sandbox=None):
        self.places = folder / "places"
        self.places.mkdir(parents=True)
        over = {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(KILLPOINTS), os.environ.get("PYTHONPATH")])),
            "JACKSTOP_KILLPOINTS": str(self.places),
            "JACKSTOP_LAKE_FLUSH_INTERVAL_S": "1",
            "JACKSTOP_JOURNAL_SEGMENT_BYTES": str(1 << 20),
        }
        super().__init__(folder, workers, {**over, **(environment or {})}, sandbox)
        self.keeper = Keeper(self.home / "journal", folder / "kept")
        self.holders = []
        self._numbers = 0

    def set_up(self):
        self.command("init", "--admin", "admin@example.com")
        return self

    def begin(self):
        """Set up, start, and give the organisation a budget that is on every path."""
        self.set_up().up()
        self.tell("budget set", scope="org", amount="100usd/life")
        return self

    def tell(self, command, /, **args):
        """Run a command in the running control."""
        return client.ask(Home(self.home), command, args)

    def holder(self, provider="openai", **options):
        """Issue a key with a credential of its own."""
        self._numbers += 1
        name, secret = f"{provider}-{self._numbers}", f"sk-{secrets.token_hex(12)}"
        url = f"{self.sandbox.url}/{provider}"
        self.tell("credential add", name=name, provider=provider, base_url=url, secret=secret)
        row = self.tell("key issue", **{"owner": "app@example.com", "name": name, "credential": name, **options})
        self.holders.append(Holder(row["key"], row["id"], name, secret, provider))
        return self.holders[-1]

    # -- dying and coming back ----------------------------------------------------------------------------------

    def arm(self, gap, n=1):
        path = self.places / f"arm-{gap}"
        path.with_suffix(".new").write_text(str(n))
        path.with_suffix(".new").rename(path)

    def disarm(self, gap):
        """Take the arming back; whether nobody had come to it."""
        try:
            (self.places / f"arm-{gap}").unlink()
        except FileNotFoundError:
            return False
        return True

    def killed(self, gap):
        """The processes that died in this gap."""
        return [int(path.suffix[1:]) for path in self.places.glob(f"killed-{gap}.*")]

    def whole(self):
        """Whether all processes run, every gate that lives is connected and up to date, and the dead are booked."""
        try:
            status = self.tell("status")
        except (UserError, OSError):
            return False
        children = self.children()
        running = set(children["gate"])
        return (
            len(children["worker"]) == 1
            and len(running) == self.workers
            and {gate["pid"] for gate in status["gates"]} == running
            and all(gate["fresh"] for gate in status["gates"])
        )

    def wait_whole(self, seconds=60):
        until(self.whole, "everything runs again", seconds)

    def wait_ready(self):
        self.wait_whole()

    def kill_parent(self):
        """The parent alone; its children have to see to it themselves that they end. Nobody waits until they have."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def kill_all(self):
        """Everything at once, as the machine's end would; what is left are files."""
        children = [pid for pids in self.children().values() for pid in pids]
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        until(lambda: not any(map(runs, children)), "everything is dead")

    def lose_power(self, *, position_too):
        """Zero what the journals got after their last sync. `position_too`: their note of the end is as old."""
        (self.places / "boot").write_text(secrets.token_hex(8))
        lost = 0
        for folder in (self.home / "journal").iterdir():
            lost += self.cut_back(folder, position_too=position_too)
        return lost

    def cut_back(self, folder, *, position_too=False):
        """Zero what one journal got after its last sync; how many bytes that were."""
        try:
            number, offset = map(int, (self.places / f"synced-{folder.name}").read_text().split())
        except FileNotFoundError:
            first = (folder / "00000000.seg").read_bytes()[16:20]
            number, offset = 0, 24 + int.from_bytes(first, "little")  # the first record is synced when it is written
        lost = 0
        for path in sorted(folder.glob("*.seg")):
            start = 0 if int(path.stem) > number else offset if int(path.stem) == number else None
            if start is not None:
                data = bytearray(path.read_bytes())
                lost += len(data[start:].rstrip(b"\0"))
                data[start:] = bytes(len(data) - start)
                with path.open("r+b") as file:
                    file.write(data)
        if position_too:
            with (folder / "position").open("r+b") as file:
                file.write(number.to_bytes(8, "little") + offset.to_bytes(8, "little"))
        return lost

    # -- looking ------------------------------------------------------------------------------------------------

    def errors(self):
        """What the processes logged as an error, and the traceback's first line."""
        lines = [line for log in (self.home / "logs").glob("*.log*") for line in log.read_text().splitlines()]
        return [line for line in lines if " ERROR " in line or line.startswith("Traceback")]

    def rows(self):
        """The provider's row of every request."""
        return get(f"{self.sandbox.url}/_sandbox/requests", 30)

    def billed(self):
        """Nano-dollars on the provider's bill by credential."""
        return {row["credential"]: row["cost_nusd"] for row in self.sandbox.bill()}

    def books(self):
        """Every dollar budget by scope, as `jackstop budget show` has it."""
        return {row["scope"]: row for row in self.tell("budget show")["rows"] if row["kind"] == "usd"}

    def open_holds(self):
        found, after = [], ""
        while after is not None:
            page = self.tell("budget holds", after=after)
            found += page["rows"]
            after = page["after"]
        return found

    def under_way(self, holder):
        """This key's requests that run."""
        return [hold for hold in self.open_holds() if hold["state"] == "under way" and hold["key_id"] == holder.id]

    def stored(self, query):
        """What the database itself answers, as rows by name."""
        url = self.environment.get("JACKSTOP_STORE_URL") or f"sqlite:///file:{self.home}/jackstop.db?mode=ro&uri=true"
        engine = create_engine(url)
        try:
            with engine.connect() as conn:
                return [dict(row) for row in conn.execute(query).mappings()]
        finally:
            engine.dispose()

    def windows(self):
        """The books as they are in the database, by scope; `over` among them."""
        joined = windows.join(limits, limits.c.id == windows.c.limit_id)
        columns = (limits.c.scope, windows.c.amount, windows.c.settled, windows.c.leased, windows.c.over)
        rows = self.stored(select(*columns).select_from(joined).where(limits.c.kind == "usd"))
        return {row["scope"]: row for row in rows}

    def replays(self):
        self.keeper.look()
        return replay_all(self.keeper.kept)

    def close(self):
        self.keeper.close()
        if self.process is not None and self.process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.sandbox.stop()


def in_turns(gaps, times, chance):
    """Every gap so many times, in a new order each time round."""
    return [gap for _ in range(times) for gap in chance.sample(gaps, len(gaps))]


@contextmanager
def broken_in(folder, **environment):
    """A system that serves, for the block; closed whatever happens."""
    system = Breakable(folder, environment=environment)
    try:
        yield system.begin()
    finally:
        system.close()


def runs(pid):
    """Whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def at_rest(system, seconds=30):
    """Wait until no request is under way and everything is booked and in the lake."""
    until(lambda: all(hold["state"] != "under way" for hold in system.open_holds()), "no request under way", seconds)
    until(lambda: system.tell("events flush")["written"], "the lake is up to date", seconds)
