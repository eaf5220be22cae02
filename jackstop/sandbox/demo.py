"""`jackstop demo`: the real system on loopback with practice providers, three applications, and attacks to watch.

Every figure is measured: the applications and the thief report their own calls, the practice providers send their
bill, and the gate's events say when what was admitted or refused.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from jackstop.clock import SystemClock, to_datetime
from jackstop.errors import UserError
from jackstop.money import NUSD_PER_USD, parse_usd
from jackstop.sandbox.attacks.t1 import SOURCE, SWARM
from jackstop.sandbox.attacks.t4 import HOLDER
from jackstop.sandbox.stage import PATIENCE_S, Process, Stage

GATES = 2
LAB_BUDGET = "1usd/day"
WIDE_BUDGET = "20usd/day"
WARM_UP_REQUESTS = 12
MEANWHILE_REQUESTS = 6
_SDKS = ("openai", "anthropic")
_PROGRESS_NUSD = 250_000_000


class Attack(msgspec.Struct):
    """One replay in figures. Times are UTC microseconds, money is nano-dollars; None is what does not apply."""

    threat: str
    case: str
    first_call_ts: int | None
    detected_ts: int | None
    contained_ts: int | None
    attacker_spend_nusd: int
    attacker_booked_nusd: int
    attacker_requests: int
    refused_requests: int
    victim_requests: int
    victim_failures: int
    false_findings: int | None = None


class Work(NamedTuple):
    """What the applications have done so far."""

    requests: int
    failures: int


class Applications:
    """The three applications, and a count of how they fare."""

    def __init__(self) -> None:
        self._running: list[Process] = []
        self._requests: Counter[str] = Counter()
        self._failures: list[str] = []

    def add(self, process: Process) -> None:
        self._running.append(process)

    def work(self) -> Work:
        """Read what they have said since the last time."""
        for process in self._running:
            with suppress(Empty):
                while (line := process.lines.get_nowait()) is not None:
                    said = json.loads(line)
                    self._requests[said["application"]] += 1
                    if said["error"]:
                        self._failures.append(f"{said['application']}: {said['error']}")
        return Work(self._requests.total(), len(self._failures))

    def work_until(self, requests: int) -> Work:
        """Wait until that many requests were made. Raises UserError when the applications do not get there."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            done = self.work()
            if done.requests >= requests and len(self._requests) == len(self._running):
                return done
            time.sleep(0.02)
        said = " | ".join(line for process in self._running for line in process.errors)
        raise UserError("the demo's applications get no further", said or "see the failures above")

    @property
    def failures(self) -> list[str]:
        """What went wrong, in words."""
        return self._failures


class Demo:
    """One run, told line by line."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.applications = Applications()
        self.attacks: list[Attack] = []
        self._victims: set[str] = set()
        self._bold = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")

    def run(self) -> None:
        """Set the stage, let the applications work, and replay what is built so far."""
        self.heading("Jackstop demo. Everything is on loopback; the providers are practice ones.")
        shop_key, shop_id = self.set_up()
        self.heading("T1  An application's key is stolen, and used from another network")
        self.replay_elsewhere(shop_key, shop_id)
        self.heading("T1  A key without a network is stolen, and used as fast as it gives")
        self.replay_flat_out()
        self.heading("T1  A key is checked as thieves do, then used from many networks at once")
        self.replay_swarm()
        self.heading("T4  A key's own holder resells it to others")
        self.replay_resale()
        self.summary()

    # The stage.

    def set_up(self) -> tuple[str, str]:
        """Everything up to the point where the applications work; the shop's key and its id."""
        stage = self.stage
        stage.open_sandbox()
        self.line("providers", f"practice OpenAI, Anthropic and DeepSeek on {stage.providers}")
        stage.jackstop("init", "--admin", "admin@example.com")
        stage.add_credential("openai-shop", "openai")
        for name in ("openai-lab", "openai-research", "openai-club"):
            stage.add_credential(name, "openai")
        stage.add_credential("anthropic-main", "anthropic")
        stage.add_credential("deepseek-main", "deepseek")
        self.line("vault", "six provider credentials; no application will ever see one")
        stage.add_mail_channel()
        stage.open_gate(GATES)
        self.line("gate", f"{GATES} processes on {stage.gate}")
        self.line("console", f"on {stage.console}; news go out by mail, to a mail server of the demo's own")
        own = ("--team", "shop", "--network", "127.0.0.1/32", "--budget", "5usd/day")
        shop = stage.issue("shop@example.com", "shop-assistant", *own, "--credential", "openai-shop")
        triage, triage_id = stage.issue("help@example.com", "support-triage", *own, "--provider", "anthropic")
        night, night_id = stage.issue("data@example.com", "nightly-summaries", *own, "--provider", "deepseek")
        self._victims = {f"key:{key_id}" for key_id in (shop[1], triage_id, night_id)}
        self._start("shop-assistant", "OPENAI", "openai/v1", shop[0])
        self._start("support-triage", "ANTHROPIC", "anthropic", triage)
        self._start("nightly-summaries", "OPENAI", "deepseek", night)
        self.line("keys", "three, one for each application, bound to 127.0.0.1/32 and 5 USD a day")
        done = self.applications.work_until(WARM_UP_REQUESTS)
        billed = sum(line["cost_nusd"] for line in stage.bill().values())
        self.line("apps", f"through the official SDKs: {self._fared(done)}, {_usd(billed)} USD billed")
        return shop

    def _start(self, name: str, sdk: str, path: str, key: str) -> None:
        environment = {f"{sdk}_BASE_URL": f"{self.stage.gate}/{path}", f"{sdk}_API_KEY": key}
        self.applications.add(self.stage.start(["jackstop.sandbox.applications", name], **environment))

    # The replays.

    def replay_elsewhere(self, key: str, key_id: str) -> None:
        """The thief is on another network than the key's."""
        before = self.applications.work()
        self._victims.discard(f"key:{key_id}")  # a case about it says what is so
        self.line("thief", f"has shop-assistant's key, and calls from {SOURCE}")
        calls = self._steal(key, "try")
        attack = self._measure("network", key_id, calls, None, before)
        self._tell(attack, "the key is of no use where the thief is, and goes on working where it belongs")

    def replay_flat_out(self) -> None:
        """Nothing but its budget bounds this key."""
        key, key_id = self.stage.issue(
            "lab@example.com", "old-notebook", "--team", "lab", "--credential", "openai-lab", "--budget", LAB_BUDGET
        )
        before = self.applications.work()
        self.line("thief", f"has the key of an old notebook: no network, {LAB_BUDGET}; four calls at a time")
        calls = self._steal(key, "drain")
        spent = self.stage.bill()["openai-lab"]["cost_nusd"]
        attack = self._measure("budget", key_id, calls, spent, before)
        assert attack.first_call_ts is not None
        lasted_us = max(1, (attack.contained_ts or calls[-1]["back_ts"]) - attack.first_call_ts)
        pace = spent * 3_600_000_000 // lasted_us
        self._tell(attack, f"at this pace an hour costs {pace / NUSD_PER_USD:,.0f} USD where nothing bounds it")
        limit = parse_usd(LAB_BUDGET.split("/", maxsplit=1)[0])
        if spent > limit:
            raise UserError(f"the provider billed {_usd(spent)} USD on {LAB_BUDGET}", "this is a defect: report it")

    def replay_swarm(self) -> None:
        """Nobody said where this key may be used; how it is used gives the thief away."""
        key, key_id = self.stage.issue(
            *("research@example.com", "batch-scripts", "--team", "lab"),
            *("--credential", "openai-research", "--budget", WIDE_BUDGET),
        )
        before = self.applications.work()
        self.line("thief", f"checks a key found in a repository, then calls from {len(SWARM)} networks in turn")
        calls = self._steal(key, "swarm", billed="openai-research")
        spent = self.stage.bill()["openai-research"]["cost_nusd"]
        attack = self._measure("swarm", key_id, calls, spent, before, (SOURCE, *SWARM))
        self._tell_case(key_id)
        self._tell(attack, f"its budget would have let {WIDE_BUDGET} go")

    def replay_resale(self) -> None:
        """The key's own holder, on the right network: only what is asked for tells."""
        key, key_id = self.stage.issue(
            *("club@example.com", "club-bot", "--team", "club", "--network", "127.0.0.1/32"),
            *("--credential", "openai-club", "--budget", WIDE_BUDGET),
        )
        before = self.applications.work()
        self.line("reseller", "holds a key of its own, and passes on what sixteen buyers ask for")
        calls = self._steal(key, "resell", attack="t4", billed="openai-club")
        spent = self.stage.bill()["openai-club"]["cost_nusd"]
        attack = self._measure("resale", key_id, calls, spent, before, (HOLDER,), threat="T4")
        self._tell_case(key_id)
        self._tell(attack, "network, model and pace were as they should be; the shape of the requests was not")

    def _steal(self, key: str, how: str, *, attack: str = "t1", billed: str = "openai-lab") -> list[dict[str, Any]]:
        """Let the thief use a key until it gives up; its calls. Says what is new as it happens."""
        gate = urlsplit(self.stage.gate)
        thief = self.stage.start([f"jackstop.sandbox.attacks.{attack}"])
        thief.feed(json.dumps({"host": gate.hostname, "port": gate.port, "key": key, "how": how}))
        calls: list[dict[str, Any]] = []
        seen: set[tuple[int, str]] = set()
        told_nusd = 0
        for call in _said_by(thief):
            calls.append(call)
            what = (call["status"], call["reason"])
            if what not in seen:
                seen.add(what)
                answer = f"{what[0]} {what[1]}".strip()
                self.line("gate", f"call {len(calls)}: {answer}", call["back_ts"])
            if how in {"drain", "swarm"} and not call["reason"]:
                bill_nusd = self.stage.bill()[billed]["cost_nusd"]
                if bill_nusd >= told_nusd + _PROGRESS_NUSD:
                    told_nusd = bill_nusd
                    self.line("bill", f"{_usd(bill_nusd)} USD after {len(calls)} calls")
        if not calls:
            raise UserError("the thief made no call", " | ".join(thief.errors))
        return calls

    def _measure(
        self,
        case: str,
        key_id: str,
        calls: list[dict[str, Any]],
        billed_nusd: int | None,
        before: Work,
        sources: Sequence[str] = (SOURCE,),
        threat: str = "T1",
    ) -> Attack:
        """The replay in figures, its times from the gate's own events.

        `billed_nusd` is the bill of a credential that only the thief has used; without one the books say what it cost.
        """
        after = self.applications.work_until(before.requests + MEANWHILE_REQUESTS)
        events = [event for event in self.stage.events() if event["key_id"] == key_id and event["src_ip"] in sources]
        events.sort(key=lambda event: event["ts"])
        refused = [event["ts"] for event in events if event["decision"] == "refused"]
        admitted = [event["ts"] for event in events if event["decision"] != "refused"]
        last_admitted = max(admitted, default=0)
        booked_nusd = sum(event["cost_nusd"] or 0 for event in events)
        opened = [row["opened_us"] for row in self._cases_of(key_id)]
        attack = Attack(
            threat=threat,
            case=case,
            first_call_ts=events[0]["ts"] if events else None,
            detected_ts=min([*refused[:1], *opened], default=None),
            contained_ts=min((ts for ts in refused if ts > last_admitted), default=None),
            attacker_spend_nusd=booked_nusd if billed_nusd is None else billed_nusd,
            attacker_booked_nusd=booked_nusd,
            attacker_requests=len(calls),
            refused_requests=sum(1 for call in calls if call["reason"]),
            victim_requests=after.requests - before.requests,
            victim_failures=after.failures - before.failures,
            false_findings=sum(1 for row in self._cases() if row["entity"] in self._victims),
        )
        self.attacks.append(attack)
        return attack

    def _cases_of(self, key_id: str) -> list[dict[str, Any]]:
        return [row for row in self._cases() if row["entity"] == f"key:{key_id}"]

    def _cases(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.stage.jackstop("cases", "list", "--state", "all", "--json")
        return found

    # Telling.

    def heading(self, text: str) -> None:
        print(f"\n{self._bold[0]}{text}{self._bold[1]}\n", flush=True)

    def line(self, who: str, text: str, ts_us: int | None = None) -> None:
        """One line with the time at which it happened; without `who`, more about the line before."""
        moment = to_datetime(ts_us or SystemClock().now_us())
        when = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}" if who else ""
        print(f"  {when:<12}  {who:<9}  {text}", flush=True)

    def _tell(self, attack: Attack, moral: str) -> None:
        first, seen, contained = attack.first_call_ts, attack.detected_ts, attack.contained_ts
        if first is not None and seen is not None:
            when = "with the first call" if seen == first else f"{(seen - first) / 1000:,.0f} ms after the first call"
            self.line("seen", when, seen)
        if first is not None and contained is not None:
            when = (
                "at all"
                if contained == first
                else f"any more, {(contained - first) / 1000:,.0f} ms after the first call"
            )
            self.line("contained", f"nothing admitted {when}", contained)
        billed, booked = _usd(attack.attacker_spend_nusd), _usd(attack.attacker_booked_nusd)
        cost = f"{billed} USD on the provider's bill, {booked} USD in the books"
        self.line("cost", cost if attack.attacker_spend_nusd else "nothing: no call reached a provider")
        self.line("", moral)
        self.line("apps", f"{self._fared(Work(attack.victim_requests, attack.victim_failures))} meanwhile")
        for failure in self.applications.failures[-3:]:
            self.line("", failure)

    def _tell_case(self, key_id: str) -> None:
        """What was found about a key, and what was done without anyone being asked."""
        for row in self._cases_of(key_id):
            case = self.stage.jackstop("cases", "show", str(row["id"]), "--json")
            self.line("case", f"number {case['id']}, {case['severity']}", case["opened_us"])
            for detection in case["detections"]:
                self.line("", detection["title"])
            for response in case["responses"]:
                self.line("response", f"{response['action']}, {response['state']}", response["intended_us"])
            if case["questions"]:
                mail = self.stage.mailbox.wait_for(f"Was this you? Key {key_id}", PATIENCE_S)
                self.line("mail", f"the owner, {mail.content['To']}, is asked: was this you?", mail.came_us)
                self.line("", "until the answer, the key stays slow; no: it is quarantined, yes: it is released")

    def _fared(self, work: Work) -> str:
        return f"{work.requests} requests, {work.failures} failed"

    def summary(self) -> None:
        """All replays in one table."""
        self.heading("What it cost")
        print(f"  {'':<14}{'calls':>7}{'refused':>9}{'contained after':>18}{'billed USD':>14}{'apps failed':>13}")
        for attack in self.attacks:
            contained = "never"
            if attack.contained_ts is not None and attack.first_call_ts is not None:
                contained = f"{(attack.contained_ts - attack.first_call_ts) / 1000:,.0f} ms"
            print(
                f"  {attack.threat + ' ' + attack.case:<14}{attack.attacker_requests:>7}{attack.refused_requests:>9}"
                f"{contained:>18}{_usd(attack.attacker_spend_nusd):>14}"
                f"{f'{attack.victim_failures} of {attack.victim_requests}':>13}"
            )
        print(flush=True)


def _said_by(thief: Process) -> Iterator[dict[str, Any]]:
    while (line := thief.lines.get(timeout=PATIENCE_S)) is not None:
        yield json.loads(line)


def _usd(nusd: int) -> str:
    """Dollars to a hundredth of a cent, for reading; the JSON has every nano-dollar."""
    return f"{nusd / NUSD_PER_USD:,.4f}"


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def main(*, exit_after: bool = False, json_file: str | None = None) -> int:
    """Run the demo; the exit status. Raises UserError where something does not start."""
    missing = [sdk for sdk in _SDKS if find_spec(sdk) is None]
    if missing:
        raise UserError("the demo's applications need the official SDKs", f"pip install {' '.join(missing)}", 2)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    stage = Stage()
    try:
        demo = Demo(stage)
        demo.run()
        if json_file:
            Path(json_file).write_bytes(msgspec.json.format(msgspec.json.encode({"attacks": demo.attacks})) + b"\n")
        if not exit_after:
            print(f"  All of it goes on until Ctrl-C. Look around with JACKSTOP_HOME={stage.home}, for example:\n")
            print(
                f"    JACKSTOP_HOME={stage.home} {Path(sys.executable).with_name('jackstop')} budget show\n", flush=True
            )
            while True:
                time.sleep(1)
                demo.applications.work()
    except KeyboardInterrupt:
        print("\n  stopping", flush=True)
    finally:
        stage.close()
    return 0
