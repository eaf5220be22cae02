"""`jackstop report rollout`: what enforcing would have refused, per key."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from jackstop.cli.output import Columns, Subparsers, command, group, moment, print_rows
from jackstop.cli.session import Session

_COLUMNS: Columns = (
    ("KEY", lambda row: row["key_id"]),
    ("NAME", lambda row: row["name"]),
    ("TEAM", lambda row: row["team"]),
    ("REASON", lambda row: row["reason"]),
    ("WOULD REFUSE", lambda row: row["would_refuse"]),
    ("OF", lambda row: row["requests"]),
    ("FIRST", lambda row: moment(row["first_seen"])),
    ("LAST", lambda row: moment(row["last_seen"])),
)
_READ = ["decision", "reason", "key_id", "cost_nusd"]
_NAMES_AT_ONCE = 5_000


@dataclass(slots=True)
class _Count:
    requests: int = 0
    first_us: int = 0
    last_us: int = 0
    nusd: int = 0


def register(commands: Subparsers) -> None:
    """Add the group."""
    inner = group(commands, "report", "reports")
    made = command(inner, "rollout", _rollout, "what enforcing would have refused, per key and reason")
    made.add_argument("--since", metavar="TIME", default="7d", help="7d (ago, the default), 2026-11-23")


def _rollout(args: argparse.Namespace, session: Session) -> int:
    from jackstop.cli import lake

    since_us = lake.parse_moment_us(args.since)
    lake.catch_up(session)
    rows = _counted(batch for batch in lake.batches(session.home.lake, _READ, since_us))
    _name(rows, session)
    print_rows(rows, _COLUMNS, as_json=args.json, empty=f"nothing would have been refused since {args.since}")
    return 0


def _counted(batches: Iterable[Any]) -> list[dict[str, Any]]:
    counts: dict[tuple[str, str], _Count] = {}
    of_key: dict[str, int] = {}
    for batch in batches:
        groups = batch.to_pydict()
        for decision, reason, key_id, nusd, ts in zip(*(groups[name] for name in (*_READ, "ts")), strict=True):
            if not key_id:
                continue
            of_key[key_id] = of_key.get(key_id, 0) + 1
            if decision != "would_refuse":
                continue
            count = counts.setdefault((key_id, reason or ""), _Count(first_us=ts))
            count.requests += 1
            count.first_us, count.last_us = min(count.first_us, ts), max(count.last_us, ts)
            count.nusd += nusd or 0
    return [
        {
            "key_id": key_id,
            "reason": reason,
            "would_refuse": count.requests,
            "requests": of_key[key_id],
            "cost_nusd": count.nusd,
            "first_seen": count.first_us,
            "last_seen": count.last_us,
        }
        for (key_id, reason), count in sorted(counts.items(), key=lambda item: (-item[1].requests, item[0]))
    ]


def _name(rows: list[dict[str, Any]], session: Session) -> None:
    ids = sorted({row["key_id"] for row in rows})
    names: dict[str, dict[str, str]] = {}
    for start in range(0, len(ids), _NAMES_AT_ONCE):
        names |= session.call("events names", ids=ids[start : start + _NAMES_AT_ONCE])
    for row in rows:
        row.update(names.get(row["key_id"], {"name": "", "team": ""}))
