"""`jackstop demo`: the real system on loopback with practice providers, three applications, and attacks to watch.

Every figure is measured: the applications and the thief report their own calls, the practice providers send their
bill, and the gate's events say when what was admitted or refused.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from jackstop.clock import SystemClock
from jackstop.errors import UserError
from jackstop.money import NUSD_PER_USD, parse_usd
from jackstop.sandbox.attacks.t1 import SOURCE, SWARM
from jackstop.sandbox.attacks.t4 import HOLDER
from jackstop.sandbox.hijack import Hijack
from jackstop.sandbox.shadow import CREDENTIAL, Shadow
from jackstop.sandbox.stage import PATIENCE_S, Applications, Stage, Work, replay
from jackstop.sandbox.telling import Attack, Teller, span, usd

GATES = 2
LAB_BUDGET = "1usd/day"
WIDE_BUDGET = "20usd/day"
WARM_UP_REQUESTS = 12
MEANWHILE_REQUESTS = 6
_SDKS = ("openai", "anthropic")
_PROGRESS_NUSD = 250_000_000


class Demo:
    """One run, told line by line."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.applications = Applications()
        self.attacks: list[Attack] = []
        self._tell = Teller()
        self._shadow: Shadow | None = None
        self._victims: set[str] = set()

    def run(self) -> None:
        """Set the stage, let the applications work, and replay what is built so far."""
        self._tell.heading("Jackstop demo. Everything is on loopback; the providers are practice ones.")
        shop_key, shop_id = self.set_up()
        before = self.begin_shadow()
        self._tell.heading("T1  An application's key is stolen, and used from another network")
        self.replay_elsewhere(shop_key, shop_id)
        self._tell.heading("T1  A key without a network is stolen, and used as fast as it gives")
        self.replay_flat_out()
        self._tell.heading("T1  A key is checked as thieves do, then used from many networks at once")
        self.replay_swarm()
        self._tell.heading("T4  A key's own holder resells it to others")
        self.replay_resale()
        self._tell.heading("T3  A cloud account is hijacked, with no gate in between")
        self.replay_hijack()
        self._tell.heading("T2  What became of the provider's key")
        self.finish_shadow(before)
        self._tell.summary(self.attacks)

    def stop(self) -> None:
        """Wait for what is under way on a stage that has stopped."""
        if self._shadow is not None:
            self._shadow.stop()

    # The stage.

    def set_up(self) -> tuple[str, str]:
        """Everything up to the point where the applications work; the shop's key and its id."""
        stage = self.stage
        stage.open_sandbox()
        self._tell.line("providers", f"practice OpenAI, Anthropic and DeepSeek on {stage.providers}")
        stage.jackstop("init", "--admin", "admin@example.com")
        stage.add_credential(CREDENTIAL, "openai")
        self._shadow = Shadow(stage, self._tell, SystemClock().now_us())
        stage.open_account(CREDENTIAL)
        for name in ("openai-lab", "openai-research", "openai-club"):
            stage.add_credential(name, "openai")
        stage.add_credential("anthropic-main", "anthropic")
        stage.add_credential("deepseek-main", "deepseek")
        self._tell.line("vault", "six provider credentials; no application will ever see one")
        stage.add_mail_channel()
        stage.open_gate(GATES)
        self._tell.line("gate", f"{GATES} processes on {stage.gate}")
        self._tell.line("console", f"on {stage.console}; news go out by mail, to a mail server of the demo's own")
        own = ("--team", "shop", "--network", "127.0.0.1/32", "--budget", "5usd/day")
        shop = stage.issue("shop@example.com", "shop-assistant", *own, "--credential", CREDENTIAL)
        triage, triage_id = stage.issue("help@example.com", "support-triage", *own, "--provider", "anthropic")
        night, night_id = stage.issue("data@example.com", "nightly-summaries", *own, "--provider", "deepseek")
        self._victims = {
            *(f"key:{key_id}" for key_id in (shop[1], triage_id, night_id)),
            *(f"credential:{name}" for name in ("anthropic-main", "deepseek-main")),
        }
        self._start("shop-assistant", "OPENAI", "openai/v1", shop[0])
        self._start("support-triage", "ANTHROPIC", "anthropic", triage)
        self._start("nightly-summaries", "OPENAI", "deepseek", night)
        self._tell.line("keys", "three, one for each application, bound to 127.0.0.1/32 and 5 USD a day")
        done = self.applications.work_until(WARM_UP_REQUESTS)
        billed = sum(line["cost_nusd"] for line in stage.bill().values())
        self._tell.line(
            "apps",
            f"through the official SDKs: {done.requests} requests, {done.failures} failed, {usd(billed)} USD billed",
        )
        return shop

    def _start(self, name: str, sdk: str, path: str, key: str) -> None:
        environment = {f"{sdk}_BASE_URL": f"{self.stage.gate}/{path}", f"{sdk}_API_KEY": key}
        self.applications.add(self.stage.start(["jackstop.sandbox.applications", name], **environment))

    # The replays.

    def begin_shadow(self) -> Work:
        """The provider's own key is stolen, and never comes near the gate; what the applications had done before."""
        self._tell.heading("T2  The provider's own key is stolen, and used past the gate")
        assert self._shadow is not None
        self._shadow.begin()
        self._tell.line("thief", "has the key behind shop-assistant's; what becomes of it stands below, marked T2")
        self._tell.line("", "only the provider's report can show it, by whole minutes: the rest goes on meanwhile")
        return self.applications.work()

    def finish_shadow(self, before: Work) -> None:
        """Wait for the theft's end, which a report of the provider brings about."""
        assert self._shadow is not None
        theft = self._shadow.finish()
        after = self.applications.work_until(self.applications.work().requests + MEANWHILE_REQUESTS)
        served = [call["ts"] for call in theft.calls if call["status"] < 400]
        refused = [call["ts"] for call in theft.calls if call["status"] >= 400]
        attack = Attack(
            threat="T2",
            case="shadow",
            first_call_ts=theft.calls[0]["ts"],
            detected_ts=None if theft.case is None else theft.case["opened_us"],
            contained_ts=min((ts for ts in refused if ts > max(served, default=0)), default=None),
            attacker_spend_nusd=theft.spent_nusd,
            attacker_booked_nusd=0,
            attacker_requests=len(theft.calls),
            refused_requests=len(refused),
            victim_requests=after.requests - before.requests,
            victim_failures=after.failures - before.failures,
            false_findings=self._false_findings(),
        )
        self.attacks.append(attack)
        moral = f"at this pace a cost alert a day later comes at {theft.day_nusd / NUSD_PER_USD:,.0f} USD"
        self._tell_outcome(attack, moral)

    def replay_elsewhere(self, key: str, key_id: str) -> None:
        """The thief is on another network than the key's."""
        before = self.applications.work()
        self._victims.discard(f"key:{key_id}")  # a case about it says what is so
        self._tell.line("thief", f"has shop-assistant's key, and calls from {SOURCE}")
        calls = self._steal(key, "try")
        attack = self._measure("network", key_id, calls, None, before)
        self._tell_outcome(attack, "the key is of no use where the thief is, and goes on working where it belongs")

    def replay_flat_out(self) -> None:
        """Nothing but its budget bounds this key."""
        key, key_id = self.stage.issue(
            "lab@example.com", "old-notebook", "--team", "lab", "--credential", "openai-lab", "--budget", LAB_BUDGET
        )
        before = self.applications.work()
        self._tell.line("thief", f"has the key of an old notebook: no network, {LAB_BUDGET}; four calls at a time")
        calls = self._steal(key, "drain")
        spent = self.stage.bill()["openai-lab"]["cost_nusd"]
        attack = self._measure("budget", key_id, calls, spent, before)
        assert attack.first_call_ts is not None
        lasted_us = max(1, (attack.contained_ts or calls[-1]["back_ts"]) - attack.first_call_ts)
        pace = spent * 3_600_000_000 // lasted_us
        self._tell_outcome(attack, f"at this pace an hour costs {pace / NUSD_PER_USD:,.0f} USD where nothing bounds it")
        limit = parse_usd(LAB_BUDGET.split("/", maxsplit=1)[0])
        if spent > limit:
            raise UserError(f"the provider billed {usd(spent)} USD on {LAB_BUDGET}", "this is a defect: report it")

    def replay_swarm(self) -> None:
        """Nobody said where this key may be used; how it is used gives the thief away."""
        key, key_id = self.stage.issue(
            *("research@example.com", "batch-scripts", "--team", "lab"),
            *("--credential", "openai-research", "--budget", WIDE_BUDGET),
        )
        before = self.applications.work()
        self._tell.line("thief", f"checks a key found in a repository, then calls from {len(SWARM)} networks in turn")
        calls = self._steal(key, "swarm", billed="openai-research")
        spent = self.stage.bill()["openai-research"]["cost_nusd"]
        attack = self._measure("swarm", key_id, calls, spent, before, (SOURCE, *SWARM))
        self._tell_case(key_id)
        self._tell_outcome(attack, f"its budget would have let {WIDE_BUDGET} go")

    def replay_resale(self) -> None:
        """The key's own holder, on the right network: only what is asked for tells."""
        key, key_id = self.stage.issue(
            *("club@example.com", "club-bot", "--team", "club", "--network", "127.0.0.1/32"),
            *("--credential", "openai-club", "--budget", WIDE_BUDGET),
        )
        before = self.applications.work()
        self._tell.line("reseller", "holds a key of its own, and passes on what sixteen buyers ask for")
        calls = self._steal(key, "resell", attack="t4", billed="openai-club")
        spent = self.stage.bill()["openai-club"]["cost_nusd"]
        attack = self._measure("resale", key_id, calls, spent, before, (HOLDER,), threat="T4")
        self._tell_case(key_id)
        self._tell_outcome(attack, "network, model and pace were as they should be; the shape of the requests was not")

    def replay_hijack(self) -> None:
        """Nothing passes the gate: the account's own log is hunted over."""
        before = self.applications.work()
        hijacked = Hijack(self.stage, self._tell, self.stage.home / "practice-cloudtrail").replay()
        after = self.applications.work_until(before.requests + MEANWHILE_REQUESTS)
        attack = Attack(
            threat="T3",
            case="account",
            first_call_ts=hijacked.planted.first_us,
            detected_ts=None if hijacked.case is None else hijacked.case["opened_us"],
            contained_ts=None,
            attacker_spend_nusd=None,
            attacker_booked_nusd=None,
            attacker_requests=hijacked.planted.records,
            refused_requests=None,
            victim_requests=after.requests - before.requests,
            victim_failures=after.failures - before.failures,
            false_findings=self._false_findings(),
        )
        self.attacks.append(attack)
        if attack.detected_ts is not None:
            seen = f"{span(attack.detected_ts - hijacked.arrived_us)} after the log told of it"
            self._tell.line("seen", seen, attack.detected_ts)
        self._tell.line("", "containing waits for a person: nothing is done in an account by a hunt alone")

    def _steal(self, key: str, how: str, *, attack: str = "t1", billed: str = "openai-lab") -> list[dict[str, Any]]:
        """Let the thief use a key until it gives up; its calls. Says what is new as it happens."""
        gate = urlsplit(self.stage.gate)
        thief = self.stage.start([f"jackstop.sandbox.attacks.{attack}"])
        thief.feed(json.dumps({"host": gate.hostname, "port": gate.port, "key": key, "how": how}))
        calls: list[dict[str, Any]] = []
        seen: set[tuple[int, str]] = set()
        told_nusd = 0
        for call in replay(thief):
            calls.append(call)
            what = (call["status"], call["reason"])
            if what not in seen:
                seen.add(what)
                answer = f"{what[0]} {what[1]}".strip()
                self._tell.line("gate", f"call {len(calls)}: {answer}", call["back_ts"])
            if how in {"drain", "swarm"} and not call["reason"]:
                bill_nusd = self.stage.bill()[billed]["cost_nusd"]
                if bill_nusd >= told_nusd + _PROGRESS_NUSD:
                    told_nusd = bill_nusd
                    self._tell.line("bill", f"{usd(bill_nusd)} USD after {len(calls)} calls")
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
            false_findings=self._false_findings(),
        )
        self.attacks.append(attack)
        return attack

    def _false_findings(self) -> int:
        return sum(1 for row in self._cases() if row["entity"] in self._victims)

    def _cases_of(self, key_id: str) -> list[dict[str, Any]]:
        return [row for row in self._cases() if row["entity"] == f"key:{key_id}"]

    def _cases(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.stage.jackstop("cases", "list", "--state", "all", "--json")
        return found

    # Telling.

    def _tell_outcome(self, attack: Attack, moral: str) -> None:
        self._tell.outcome(attack, moral, self.applications.failures[-3:])

    def _tell_case(self, key_id: str) -> None:
        """What was found about a key, and what was done without anyone being asked."""
        for row in self._cases_of(key_id):
            case = self.stage.jackstop("cases", "show", str(row["id"]), "--json")
            self._tell.line("case", f"number {case['id']}, {case['severity']}", case["opened_us"])
            for detection in case["detections"]:
                self._tell.line("", detection["title"])
            for response in case["responses"]:
                self._tell.line("response", f"{response['action']}, {response['state']}", response["intended_us"])
            if case["questions"]:
                mail = self.stage.mailbox.wait_for(f"Was this you? Key {key_id}", PATIENCE_S)
                self._tell.line("mail", f"the owner, {mail.content['To']}, is asked: was this you?", mail.came_us)
                self._tell.line("", "until the answer, the key stays slow; no: it is quarantined, yes: it is released")


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
    demo = Demo(stage)
    try:
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
        stage.stop()
        demo.stop()
        stage.close()
    return 0
