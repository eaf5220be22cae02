"""News for the channels: written in the transaction of what they tell about, so that neither is there alone."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Insert, select
from sqlalchemy import Row as DbRow
from sqlalchemy.dialects import postgresql, sqlite

from jackstop.cases.finding import SEVERITIES
from jackstop.store.tables import channels, outbox

NewsKind = Literal[
    "case.opened",
    "case.updated",
    "case.closed",
    "question",
    "approval",
    "cost.alert",
    "digest",
    "test",
    "heartbeat",
]

_WHATEVER_SEVERITY = frozenset({"digest", "test"})
_WITHOUT_DIGEST = frozenset({"pagerduty", "ocsf-file", "ocsf-http", "ocsf-s3"})
_ONLY_CASES = frozenset({"ocsf-file", "ocsf-http", "ocsf-s3"})


class News(msgspec.Struct, frozen=True):
    """One thing to be told, with an identity: the same `uid` is told once to each channel.

    News of one case have its `case_id` and one `group_key`, by which channels gather them. `severity` is the case's,
    for a closed one that which it had. `actions` are (label, command or URL). `to` is the address of the one person
    whom it concerns; a question goes to that address alone. `until_us`, of a question, is when its link ends: one
    that could not be sent by then is dropped.

    Of `facts`, channels know these: `entity`, `key`, `owner`, `team`, `credential`, `detections`, `attack`, `atlas`
    (several with commas between), `findings` (how many), `first_seen_us`, `last_seen_us`, `cost_nusd`, `held_nusd`,
    `verdict`, `acknowledged` (1 once somebody looks after the case as it is now), `remediation` (what to do, as text).
    All others are shown as they are.
    """

    kind: NewsKind
    severity: str
    title: str
    text: str
    case_id: int | None
    uid: str
    group_key: str
    facts: dict[str, str | int] = {}
    actions: tuple[tuple[str, str], ...] = ()
    to: str = ""
    until_us: int = 0


def rank(severity: str) -> int:
    """How severe: 0 for info, and for what has no severity."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else 0


def queue(conn: Connection, now_us: int, news: News) -> int:
    """Write one row for each channel that is to tell these news; the number of rows that were not there yet.

    Part of the caller's transaction. The same news again, by their uid, do nothing.
    """
    statement = select(channels).where(channels.c.enabled).order_by(channels.c.name)
    return sum(enqueue(conn, now_us, news, row.name) for row in _listeners(news, list(conn.execute(statement))))


def enqueue(conn: Connection, now_us: int, news: News, channel: str) -> int:
    """Write the row for one channel: 1, or 0 when it is there already."""
    values = {
        "uid": message_uid(news.uid, channel),
        "channel": channel,
        "kind": news.kind,
        "severity": news.severity,
        "case_id": news.case_id,
        "group_key": _group(news),
        "payload": {"news": [msgspec.to_builtins(news)], "at_us": [now_us]},
        "state": "queued",
        "created_us": now_us,
        "next_us": now_us,
    }
    return len(conn.execute(_insert_new(conn, values).returning(outbox.c.id)).all())


def _group(news: News) -> str:
    """By what news are gathered and kept in order. A question is for one person, and stands alone."""
    return news.uid if news.kind == "question" else news.group_key or news.uid


def message_uid(news_uid: str, channel: str) -> str:
    """What the receivers of one channel know a message by. Without dots, as Standard Webhooks wants it."""
    return "msg_" + hashlib.blake2b(f"{channel}\n{news_uid}".encode(), digest_size=16).hexdigest()


def _insert_new(conn: Connection, values: dict[str, Any]) -> Insert:
    if conn.dialect.name == "sqlite":
        return sqlite.insert(outbox).values(**values).on_conflict_do_nothing(index_elements=["uid"])
    return postgresql.insert(outbox).values(**values).on_conflict_do_nothing(index_elements=["uid"])


def can_ask(conn: Connection) -> bool:
    """Whether a channel would take a question to the one person whom it is for."""
    rows = list(conn.execute(select(channels).where(channels.c.enabled, channels.c.kind == "email")))
    return any(_asks(row) for row in rows)


def _asks(row: DbRow[Any]) -> bool:
    return bool(row.kind == "email" and row.options.get("questions") != "no")


def _listeners(news: News, rows: list[DbRow[Any]]) -> list[DbRow[Any]]:
    if news.kind == "question":
        # It carries a link that is meant for one person: by mail, and by one channel only.
        return [row for row in rows if news.to and _asks(row)][:1]
    return [row for row in rows if _listens(news, row)]


def _listens(news: News, row: DbRow[Any]) -> bool:
    if row.kind == "heartbeat" or (row.kind in _ONLY_CASES and news.case_id is None):
        return False
    if row.kind in _WITHOUT_DIGEST and news.kind == "digest":
        return False
    return news.kind in _WHATEVER_SEVERITY or rank(news.severity) >= rank(row.min_severity)
