"""What the demo prints, and each replay in figures."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable

import msgspec

from jackstop.clock import US_PER_S, SystemClock, to_datetime
from jackstop.money import NUSD_PER_USD


class Attack(msgspec.Struct):
    """One replay in figures. Times are UTC microseconds, money is nano-dollars; None is what does not apply."""

    threat: str
    case: str
    first_call_ts: int | None
    detected_ts: int | None
    contained_ts: int | None
    attacker_spend_nusd: int | None
    attacker_booked_nusd: int | None
    attacker_requests: int
    refused_requests: int | None
    victim_requests: int
    victim_failures: int
    false_findings: int | None = None


class Teller:
    """Standard output, for several threads at once."""

    def __init__(self) -> None:
        self._bold = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
        self._printing = threading.Lock()

    def say(self, *lines: str) -> None:
        """Lines that stay together."""
        with self._printing:
            print(*lines, sep="\n", flush=True)

    def heading(self, text: str) -> None:
        self.say("", f"{self._bold[0]}{text}{self._bold[1]}", "")

    def line(self, who: str, text: str, ts_us: int | None = None) -> None:
        """One line with the time at which it happened; without `who`, more about the line before."""
        moment = to_datetime(ts_us or SystemClock().now_us())
        when = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}" if who else ""
        self.say(f"  {when:<12}  {who:<9}  {text}")

    def outcome(self, attack: Attack, moral: str, failures: Iterable[str]) -> None:
        """When a replay was seen and stopped, what it cost, and what the applications noticed of it."""
        first, seen, contained = attack.first_call_ts, attack.detected_ts, attack.contained_ts
        if first is not None and seen is not None:
            when = "with the first call" if seen == first else f"{span(seen - first)} after the first call"
            self.line("seen", when, seen)
        if first is not None and contained is not None:
            when = "at all" if contained == first else f"any more, {span(contained - first)} after the first call"
            self.line("contained", f"nothing admitted {when}", contained)
        billed, booked = usd(attack.attacker_spend_nusd), usd(attack.attacker_booked_nusd)
        cost = f"{billed} USD on the provider's bill, {booked} USD in the books"
        self.line("cost", cost if attack.attacker_spend_nusd else "nothing: no call reached a provider")
        self.line("", moral)
        self.line("apps", f"{attack.victim_requests} requests, {attack.victim_failures} failed meanwhile")
        for failure in failures:
            self.line("", failure)

    def summary(self, attacks: Iterable[Attack]) -> None:
        """All replays in one table."""
        self.heading("What it cost")
        rows = [f"  {'':<14}{'calls':>7}{'refused':>9}{'contained after':>18}{'billed USD':>14}{'apps failed':>13}"]
        for attack in attacks:
            contained = "on approval" if attack.threat == "T3" else "never"
            if attack.contained_ts is not None and attack.first_call_ts is not None:
                contained = span(attack.contained_ts - attack.first_call_ts)
            refused = "-" if attack.refused_requests is None else attack.refused_requests
            rows.append(
                f"  {attack.threat + ' ' + attack.case:<14}{attack.attacker_requests:>7}{refused:>9}"
                f"{contained:>18}{usd(attack.attacker_spend_nusd):>14}"
                f"{f'{attack.victim_failures} of {attack.victim_requests}':>13}"
            )
        self.say(*rows, "")


def span(us: int) -> str:
    """A duration for reading."""
    return f"{us / 1000:,.0f} ms" if us < 10 * US_PER_S else f"{us / US_PER_S:,.1f} s"


def usd(nusd: int | None) -> str:
    """Dollars to a hundredth of a cent, for reading; the JSON has every nano-dollar. `-` where nobody knows."""
    return "-" if nusd is None else f"{nusd / NUSD_PER_USD:,.4f}"
