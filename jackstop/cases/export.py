"""What a provider's refund and abuse forms want of a case: requests, a UTC timeline, dollars per hour, event hashes."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import islice
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from jackstop.clock import iso
from jackstop.money import format_usd

HOUR_US = 3_600_000_000
PART = 50_000
"""How many requests are held in memory while they are put in order."""
_TOP = 10
_KEPT = (
    *("ts", "event_id", "request_id", "provider", "account", "region", "credential_id", "provider_key_id", "key_id"),
    *("action", "endpoint", "model_asked", "model", "status", "outcome", "decision", "reason", "service_tier"),
    *("src_ip", "src_net", "asn", "as_org", "country", "network_kind", "user_agent", "client"),
    *(
        "input_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "output_tokens",
        "cost_nusd",
        "price_known",
        "estimated",
    ),
)
"""Of the columns of an event, those that the provider needs to find the request and to judge it."""

Event = Mapping[str, Any]


def event_hash(event: Event) -> str:
    """SHA-256, in hex, of an event's canonical JSON: all columns, keys sorted, no spaces, ASCII only."""
    return hashlib.sha256(json.dumps(dict(event), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Tally:
    """What a case's events come to: money, hours, and what was most often seen."""

    def __init__(self) -> None:
        self.requests = self.refused = self.cost_nusd = self.unknown_price = 0
        self.hours: defaultdict[int, dict[str, int]] = defaultdict(lambda: {"requests": 0, "cost_nusd": 0})
        self.seen: dict[str, Counter[str]] = {name: Counter() for name in _SEEN}

    def add(self, event: Event) -> None:
        nusd = event["cost_nusd"] or 0
        self.requests += 1
        self.refused += event["decision"] == "refused"
        self.unknown_price += event["price_known"] is False
        self.cost_nusd += nusd
        hour = self.hours[event["ts"] - event["ts"] % HOUR_US]
        hour["requests"] += 1
        hour["cost_nusd"] += nusd
        for name, counted in self.seen.items():
            if event[name]:
                counted[str(event[name])] += 1

    def counting(self, events: Iterable[Event]) -> Iterator[Event]:
        """The events as they come, each added."""
        for event in events:
            self.add(event)
            yield event

    def summary(self, held_nusd: int, open_holds: int) -> dict[str, Any]:
        """As rows for people and programs; `held_nusd` are holds of requests whose cost nobody has reported."""
        return {
            "requests": self.requests,
            "refused": self.refused,
            "settled_nusd": self.cost_nusd,
            "held_nusd": held_nusd,
            "open_holds": open_holds,
            "unknown_price": self.unknown_price,
            "hours": [{"hour_us": hour, **counts} for hour, counts in sorted(self.hours.items())],
            "seen": {
                name: [{"value": value, "requests": count} for value, count in counted.most_common(_TOP)]
                for name, counted in self.seen.items()
            },
        }


_SEEN = ("src_net", "country", "as_org", "client", "model", "credential_id", "provider")


def request(event: Event) -> dict[str, Any]:
    """One event as the export has it, with the hash of the whole."""
    kept = {name: event[name] for name in _KEPT if event[name] not in {None, ""}}
    return {**kept, "utc": iso(event["ts"]), "sha256": event_hash(event)}


@contextmanager
def in_order(requests: Iterable[Mapping[str, Any]], folder: Path) -> Iterator[Iterator[dict[str, Any]]]:
    """The requests by time, however many. All are read first, and wait in nameless files on the disk of `folder`."""
    unread, by_time = iter(requests), itemgetter("ts", "event_id")
    with ExitStack() as files:
        parts = []
        while part := sorted(islice(unread, PART), key=by_time):
            file = files.enter_context(TemporaryFile("w+", dir=folder, encoding="utf-8"))
            file.writelines(json.dumps(row) + "\n" for row in part)
            file.seek(0)
            parts.append(map(json.loads, file))
        yield heapq.merge(*parts, key=by_time)


def as_json(case: Mapping[str, Any], money: Mapping[str, Any], requests: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The export as the lines of one JSON object."""
    yield f'{{"case": {json.dumps(case, indent=2)},'
    yield f'"money": {json.dumps(money, indent=2)},'
    yield '"requests": ['
    for number, row in enumerate(requests):
        yield ("," if number else " ") + json.dumps(row)
    yield "]}"


def text(case: Mapping[str, Any], money: Mapping[str, Any], requests: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The export as lines to paste into a form or to attach to it."""
    yield f"Jackstop case {case['id']}, exported {iso(case['exported_us'])}"
    yield f"What: {case['title']}"
    yield f"Severity: {case['severity']}; state: {case['state']}" + (f", {case['verdict']}" if case["verdict"] else "")
    yield f"From {iso(case['since_us'])} to {iso(case['until_us'])} (all times UTC)"
    yield f"Requests: {money['requests']}, of which the gateway refused {money['refused']}"
    yield f"Cost at list price: {format_usd(money['settled_nusd'])} USD"
    if money["held_nusd"]:
        most = format_usd(money["held_nusd"])
        yield f"Requests whose cost is not known yet: {money['open_holds']}, at most {most} USD"
    yield from case["unlawful_notice"]
    for row in case["detections"]:
        yield f"Found: {row['title']}. {row['meaning']}".rstrip()
    yield from _timeline(case)
    yield ""
    yield "Dollars per hour (UTC)"
    for row in money["hours"]:
        yield f"{iso(row['hour_us'])[:16]}Z  {row['requests']:>9} requests  {format_usd(row['cost_nusd']):>14} USD"
    yield ""
    yield "Requests: UTC, provider, its request id, key id at the provider, model, status, USD, SHA-256 of the event"
    for row in requests:
        yield "  ".join(_cell(row, name) for name in _LINE)


_LINE = ("utc", "provider", "request_id", "provider_key_id", "model", "status", "cost_nusd", "sha256")


def _cell(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if name == "cost_nusd":
        return format_usd(value or 0)
    shown = "-" if value is None else str(value)
    return "".join(char if char.isprintable() else "?" for char in shown)


def _timeline(case: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield "Timeline (UTC)"
    for ts_us, line in sorted([*_seen(case), *_done(case)], key=itemgetter(0)):
        yield f"{iso(ts_us)[:19]}Z  {line}"


def _seen(case: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    for row in case["findings"]:
        count = f"{row['count']} times, last {iso(row['last_seen_us'])[:19]}Z"
        yield row["first_seen_us"], f"seen: {row['detection']} ({row['severity']}), {count}"


def _done(case: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    for row in case["responses"]:
        what = f"{row['action']} of {row['target']}"
        if row["applied_us"]:
            yield row["applied_us"], f"done: {what}"
        if row["state"] in {"expired", "reversed"}:
            over = f"released: {what}" if row["restored"] else f"taken over: {what}, by hand or by another response"
            yield row["ended_us"], over
