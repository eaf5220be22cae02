"""Reads providers' logs of single requests, and matches them with the lake: what was new, credential by credential."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from jackstop.clock import US_PER_S
from jackstop.control.client import Ask
from jackstop.providers.drivers.driver import Administration, LoggedRequest, LogPage
from jackstop.reconcile.books import LONGEST_US
from jackstop.reconcile.desk import Desk
from jackstop.reconcile.material import Reading, Watched, place_of
from jackstop.reconcile.passed import Passed, Span, of_holds, of_lost, passed
from jackstop.reconcile.requests import (
    SETTLES_US,
    Matched,
    completed,
    consumed,
    filled,
    finding_of,
    is_held_against,
    is_own,
    match,
    settle,
)
from jackstop.reconcile.sources import log_of
from jackstop.secret import Secret

_AGAIN_US = 600 * US_PER_S
"""A file may get its name a while after the moment that it says it was written at."""
_REMEMBERED_US = 3 * LONGEST_US
_NOTHING = Passed(frozenset(), [], [], 0, 0)


class Cursor(msgspec.Struct, frozen=True):
    """How far a place's files were read: those written until `written_us`, and of the last ones which."""

    written_us: int = 0
    files: dict[str, int] = {}


def read_logs(reading: Reading) -> tuple[dict[str, LogPage], str]:
    """What is new in each place's log, and the cursor from which to go on. Raises CallFailed."""
    source = log_of(reading.driver)
    assert source is not None, "control asks for nothing else"
    admin = Administration(reading.driver, reading.base_url, reading.options, Secret(reading.secret), reading.ca)
    before = msgspec.json.decode(reading.cursor or "{}", type=dict[str, Cursor])
    pages: dict[str, LogPage] = {}
    after: dict[str, Cursor] = {}
    for text in reading.places:
        known = before.get(text, Cursor())
        since_us = max(0, known.written_us - _AGAIN_US)
        page = source.requests(
            admin, place_of(text), reading.since_us, reading.until_us, written_us=since_us, known=known.files
        )
        written_us = max([known.written_us, *page.files.values()])
        files = {name: us for name, us in {**known.files, **page.files}.items() if us >= written_us - _AGAIN_US}
        pages[text], after[text] = page, Cursor(written_us, files)
    return pages, json.dumps(msgspec.to_builtins(after))


def _may_be_one(one: Watched, other: Watched) -> bool:
    """Whether what is logged for one may be the other's: of one user not every log names the key."""
    return bool(one.user and one.user == other.user) or bool(one.key and one.key == other.key)


class LogDesk:
    """Remembers lately logged ids, so that a request counts once however often it is logged. Not for two threads at
    once.
    """

    def __init__(self, ask: Ask, desk: Desk, lake: Path) -> None:
        self._ask = ask
        self._desk = desk
        self._lake = lake
        self._ids: dict[str, int] = {}
        self._since_us: int | None = None

    def compare(self, reading: Reading, pages: dict[str, LogPage], cursor: str, now_us: int) -> list[Matched]:
        """Match what was logged with the gate's requests, and tell control of it and of the cursor in one."""
        if self._since_us is None:
            self._since_us = now_us
        everything = self._desk.watched()
        states = {row["credential"]: row.get("log") for row in self._ask("reconcile list", {})["rows"]}
        found: dict[str, Matched] = {}
        ids = dict(self._ids)
        for text, page in pages.items():
            fresh, again = self._sorted(page.requests)
            ids |= {each.request_id: each.ts_us for each in fresh}
            mine = [each for each in everything if each.administration == reading.administration and each.log == text]
            for watched in mine:
                stored = states.get(watched.name)
                state = Matched(now_us, now_us) if stored is None else msgspec.convert(stored, Matched)
                for each in again:
                    state = completed(state, each)
                state = replace(state, unreadable=state.unreadable + page.unreadable)
                found[watched.name] = self._matched(watched, mine, state, (fresh, ids), now_us)
        self._record(reading, cursor, [each for each in everything if each.name in found], found)
        # Only now: what fails before is read again.
        self._ids = {name: us for name, us in ids.items() if us >= now_us - _REMEMBERED_US}
        return list(found.values())

    def _sorted(self, logged: Iterable[LoggedRequest]) -> tuple[list[LoggedRequest], list[LoggedRequest]]:
        """Those that were not logged before, and the others."""
        fresh: dict[str, LoggedRequest] = {}
        again = []
        for each in logged:
            if each.request_id in self._ids:
                again.append(each)
            else:
                fresh[each.request_id] = filled(fresh.get(each.request_id, each), each)
        return list(fresh.values()), again

    def _matched(
        self,
        watched: Watched,
        mine: Sequence[Watched],
        state: Matched,
        logged: tuple[list[LoggedRequest], Mapping[str, int]],
        now_us: int,
    ) -> Matched:
        """`logged` is what is new, and the ids of all that was logged lately."""
        fresh, lately = logged
        told = {each.request_id for each in (*state.shadow, *state.waiting)}
        fresh = [each for each in fresh if each.request_id not in told]
        own = [each for each in fresh if is_own(watched, each) and is_held_against(watched, each)]
        names = {watched.name, *(each.name for each in mine if _may_be_one(each, watched))}
        asked = [*state.waiting, *own]
        since_us = min((each.ts_us for each in asked), default=now_us)
        holds = self._desk.holds(since_us)
        self._desk.flush()
        span = Span(max(state.settled_us, self._since_us or now_us), now_us - SETTLES_US)
        if asked:
            wanted = {each.request_id for each in asked}
            gate = passed(self._lake, names, wanted, since_us, now_us, Span(0, 0), others=not state.common)
            state = match(state, watched, own, gate, of_holds(holds, names, now_us), now_us, of_lost(holds))
        else:
            state = match(state, watched, (), _NOTHING, (), now_us)
        if span.last_us - span.first_us >= SETTLES_US // 12:
            gate = passed(self._lake, names, lately.keys(), span.first_us, span.last_us, span, others=False)
            state = settle(state, gate, span)
        if not watched.exclusive:
            others = [each for each in fresh if not is_own(watched, each)]
            state = replace(state, consumers=consumed(state.consumers, others, now_us))
        return state

    def _record(self, reading: Reading, cursor: str, which: Sequence[Watched], found: dict[str, Matched]) -> None:
        rows: list[dict[str, Any]] = [
            {
                "credential": watched.name,
                "log": msgspec.to_builtins(found[watched.name]),
                "finding": msgspec.to_builtins(finding_of(watched, found[watched.name])),
            }
            for watched in which
        ]
        about = {"administration": reading.administration, "kind": reading.kind, "cursor": cursor}
        self._ask("reconcile matched", {**about, "rows": rows})
