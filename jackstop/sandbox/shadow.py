"""T2 in the demo: a provider's own key is stolen and used past the gate, beside all other replays.

Only the provider's report shows it, which comes by whole minutes and is read once a minute. So it begins as soon as a
minute that was the key's own from its first second is under way, and the other replays take place meanwhile.
"""

from __future__ import annotations

import json
import threading
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from jackstop.clock import US_PER_S, SystemClock
from jackstop.errors import UserError
from jackstop.money import NUSD_PER_USD
from jackstop.sandbox.attacks.t1 import SOURCE
from jackstop.sandbox.attacks.t2 import LONGEST_S, MODEL
from jackstop.sandbox.stage import PATIENCE_S, PUBLISHED_AFTER_S, Stage, replay
from jackstop.sandbox.telling import Teller, usd

CREDENTIAL = "openai-shop"
_DETECTION = "shadow_usage"
_MINUTE_US = 60 * US_PER_S
_ENOUGH_US = 10 * US_PER_S
"""So much of a minute has to be left: of less the provider reports too little to act on."""
_DAY_US = 86_400 * US_PER_S
_PROGRESS_NUSD = 10 * NUSD_PER_USD


class Theft(NamedTuple):
    """What the thief did, the case about it, and what became of the key. Times are UTC microseconds."""

    calls: list[dict[str, Any]]
    case: dict[str, Any] | None
    rotation: dict[str, Any] | None
    spent_nusd: int

    @property
    def day_nusd(self) -> int:
        """What the thief would have spent until a cost alert that comes a day after the first call."""
        served = [call["ts"] for call in self.calls if call["status"] < 400]
        if len(served) < 2:
            return 0
        # The last call is paid for, and the time behind it is not known.
        lasted_us: int = served[-1] - served[0]
        return self.spent_nusd * (len(served) - 1) * _DAY_US // (len(served) * lasted_us)


def begins_us(added_us: int, now_us: int) -> int:
    """When to begin so that the reading a minute later shows the theft; the credential was added at `added_us`."""
    earliest_us = max(now_us, -(-added_us // _MINUTE_US) * _MINUTE_US)
    phase_us = earliest_us % _MINUTE_US
    minute_us = earliest_us - phase_us
    if phase_us > _MINUTE_US - _ENOUGH_US:
        minute_us += _MINUTE_US
    # That reading comes at the same second, when the minute before has to be published.
    return max(earliest_us, minute_us + PUBLISHED_AFTER_S * US_PER_S)


class Shadow:
    """The theft, in a thread of its own from `begin` to `finish`."""

    def __init__(self, stage: Stage, tell: Teller, added_us: int) -> None:
        self._stage = stage
        self._tell = tell
        self._added_us = added_us
        self._theft: Theft | None = None
        self._error: Exception | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def finish(self) -> Theft:
        """Wait for its end. Raises what went wrong."""
        self._thread.join(LONGEST_S + 2 * PATIENCE_S)
        if self._error is not None:
            raise self._error
        if self._theft is None:
            raise UserError("the theft of a provider key does not end", "this is a defect: report it")
        return self._theft

    def stop(self) -> None:
        """Wait for its end on a stage that has stopped."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        try:
            self._theft = self._steal()
        except Exception as error:
            self._error = error

    def _line(self, text: str, ts_us: int | None = None) -> None:
        self._tell.line("T2", text, ts_us)

    def _steal(self) -> Theft | None:
        now_us = SystemClock().now_us()
        if self._stopping.wait((begins_us(self._added_us, now_us) - now_us) / US_PER_S):
            return None
        self._stage.link(CREDENTIAL)
        self._line("the provider's report about the shop's key is read, once a minute from now on")
        provider, secret = urlsplit(self._stage.providers), self._stage.stolen(CREDENTIAL)
        thief = self._stage.start(["jackstop.sandbox.attacks.t2"])
        thief.feed(json.dumps({"host": provider.hostname, "port": provider.port, "key": secret, "how": "resell"}))
        calls: list[dict[str, Any]] = []
        seen: set[int] = set()
        told_nusd = 0
        for call in replay(thief):
            calls.append(call)
            if call["status"] not in seen:
                seen.add(call["status"])
                self._line(
                    f"thief at the provider, from {SOURCE}: call {len(calls)}: {call['status']}", call["back_ts"]
                )
            billed_nusd = self._stage.bill()[CREDENTIAL]["cost_nusd"]
            if billed_nusd >= told_nusd + _PROGRESS_NUSD:
                told_nusd = billed_nusd
                self._line(f"{usd(billed_nusd)} USD on the key's bill after {len(calls)} calls")
        if not calls:
            raise UserError("the thief made no call", " | ".join(thief.errors))
        case, rotation = self._case(), self._rotation()
        self._tell_answer(case, rotation)
        return Theft(calls, case, rotation, self._stage.billed_nusd(secret, MODEL))

    def _case(self) -> dict[str, Any] | None:
        rows = self._stage.jackstop("cases", "list", "--state", "all", "--json")
        about = next((row["id"] for row in rows if row["entity"] == f"credential:{CREDENTIAL}"), None)
        found: dict[str, Any] | None = about and self._stage.jackstop("cases", "show", str(about), "--json")
        return found

    def _rotation(self) -> dict[str, Any] | None:
        """What is done to the key, once that has ended; None where nothing is."""
        for _ in range(PATIENCE_S):
            rows = self._stage.jackstop("credential", "rotations", CREDENTIAL, "--json")
            if not rows or rows[0]["ended_us"] is not None or self._stopping.wait(1):
                break
        return rows[0] if rows else None

    def _tell_answer(self, case: dict[str, Any] | None, rotation: dict[str, Any] | None) -> None:
        """What was found, and what was done without anyone being asked."""
        if case is not None:
            self._line(f"case number {case['id']}, {case['severity']}: {case['title']}", case["opened_us"])
            for said in (found["evidence"] for found in case["findings"] if found["detection"] == _DETECTION):
                reported, most = usd(said["reported_nusd"]), usd(said["upper_nusd"])
                self._tell.line("", f"{reported} USD reported, at most {most} USD of it through the gate")
        if rotation is not None:
            self._line(f"{rotation['act']} at the provider, because of the case", rotation["started_us"])
            if rotation["ended_us"] is not None:
                self._line("a new key made, tested and in use; the old one deleted and refused", rotation["ended_us"])
