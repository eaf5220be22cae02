"""Reports, answers, acts and time in any order: what must hold after each, against a plain model of the keys."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from jackstop.cases.finding import SEVERITIES, Finding
from jackstop.cases.turn import rank
from jackstop.errors import UserError
from jackstop.settings import Home, Settings
from jackstop.store import tables
from jackstop.store.audit import Intact, verify
from jackstop.store.engine import open_store
from tests.cases.desk import DAY_US, HOUR_US, MINUTE_US, Desk

WHICH = st.integers(0, 2)
DETECTIONS = st.sampled_from(("model_spray", "odd_client", "resale_shape"))
ACTIONS = ("throttle", "quarantine", "release", "approve", "decline", "alert", "unlawful")


class Cases(RuleBasedStateMachine):
    """Three keys, one of which observes, and a credential."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="jackstop-cases-"))
        home = Home(self.folder)
        home.create()
        self.store = open_store(Settings(), home)
        self.store.migrate()
        self.desk = Desk(self.store, home)
        self.keys = [self.desk.key(), self.desk.key(), self.desk.key(mode="observe")]
        self.desk.credential("main")
        self.entities = [*(f"key:{key}" for key in self.keys), "credential:main"]
        self.reported: list[Finding] = []
        self.worst: dict[int, int] = {}
        self.by_hand: set[str] = set()
        """Keys that a person has acted on at some time, by any way."""

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- what happens -------------------------------------------------------------------------------------------

    @rule(which=st.integers(0, 3), severity=st.sampled_from(SEVERITIES), detection=DETECTIONS, window=st.integers(0, 3))
    def report(self, which: int, severity: Any, detection: str, window: int) -> None:
        found = self.desk.finding(self.entities[which], severity, detection, window=window)
        self.desk.report(found)
        self.reported.append(found)

    @rule(which=st.integers(0, 50), more=st.integers(0, 5), severity=st.sampled_from(SEVERITIES))
    def grow(self, which: int, more: int, severity: Any) -> None:
        if self.reported:
            found = self.reported[which % len(self.reported)]
            grown = msgspec.structs.replace(
                found, count=found.count + more, severity=severity, last_seen=self.desk.clock.now_us()
            )
            self.desk.report(grown)

    @rule(which=st.integers(0, 50))
    def report_again(self, which: int) -> None:
        """A worker that was killed reports what it had reported: nothing changes."""
        if self.reported:
            found = self.reported[which % len(self.reported)]
            before = [self.desk.rows(table) for table in (tables.responses, tables.outbox, tables.keys, tables.cases)]
            self.desk.report(found)
            assert [
                self.desk.rows(table) for table in (tables.responses, tables.outbox, tables.keys, tables.cases)
            ] == before

    @rule(us=st.sampled_from((MINUTE_US, 15 * MINUTE_US, HOUR_US, DAY_US, 8 * DAY_US)))
    def wait(self, us: int) -> None:
        self.desk.pass_time(us)

    @rule(which=WHICH, act=st.sampled_from(("key throttle", "key quarantine", "key release")))
    def act_on_the_key(self, which: int, act: str) -> None:
        self.desk.run(act, id=self.keys[which], rate="60req/min")
        self.by_hand.add(self.keys[which])

    @rule(which=st.integers(0, 20), action=st.sampled_from(ACTIONS))
    def respond(self, which: int, action: str) -> None:
        self._in_a_case(which, "respond", action=action)

    @rule(which=st.integers(0, 20), verdict=st.sampled_from(("hijack", "misuse", "benign")))
    def close(self, which: int, verdict: str) -> None:
        self._in_a_case(which, "close", verdict=verdict)

    @rule(which=st.integers(0, 20))
    def reopen(self, which: int) -> None:
        self._in_a_case(which, "reopen")

    def _in_a_case(self, which: int, act: str, **args: Any) -> None:
        found = self.desk.rows(tables.cases)
        if found:
            case = found[which % len(found)]
            self.by_hand |= {each.removeprefix("key:") for each in self.desk.case(case["id"])["entities"]}
            try:
                self.desk.run(f"cases {act}", id=case["id"], **args)
            except UserError as error:
                assert error.status == 2  # noqa: PT017 -- any step may find nothing to do, and says so

    @rule(which=st.integers(0, 20), given=st.sampled_from(("yes", "no")))
    def answer(self, which: int, given: str) -> None:
        if tokens := self.desk.tokens():
            before = {key: self.desk.state(key)[0] for key in self.keys}
            try:
                done = self.desk.run("cases answer", token=tokens[which % len(tokens)], answer=given)
            except UserError:
                return
            case = self.desk.case(done["case"])
            assert case["state"] == "open" or given == "yes"
            if given == "yes":
                assert {key: self.desk.state(key)[0] for key in self.keys} == before
            self.by_hand |= set(self.keys)

    # -- what holds ---------------------------------------------------------------------------------------------

    @invariant()
    def every_finding_is_there_once_and_in_a_case_unless_it_is_only_information(self) -> None:
        rows = {row["uid"]: row for row in self.desk.rows(tables.findings)}
        assert set(rows) == {found.uid for found in self.reported}
        assert all(row["case_id"] or row["severity"] == "info" for row in rows.values())

    @invariant()
    def a_case_is_as_severe_as_its_worst_and_never_less_than_it_was(self) -> None:
        worst: dict[int, int] = {}
        for row in self.desk.rows(tables.findings):
            if row["case_id"]:
                worst[row["case_id"]] = max(worst.get(row["case_id"], 0), rank(row["severity"]))
        for case in self.desk.rows(tables.cases):
            now = rank(case["severity"])
            assert now >= self.worst.get(case["id"], 0)
            # A finding that grew worse than the closed case it was in has left it for another.
            assert now >= worst.get(case["id"], 0)
            self.worst[case["id"]] = now

    @invariant()
    def nothing_has_two_claims_and_what_a_claim_says_is_so(self) -> None:
        claims: dict[tuple[str, str], int] = {}
        for row in self.desk.rows(tables.responses):
            if row["state"] == "applied" and row["ended_us"] is None:
                place = (row["action"], row["target"])
                assert place not in claims
                claims[place] = row["before"]["set"]
                assert row["until_us"] is None or row["until_us"] > self.desk.clock.now_us()
        for key in self.keys:
            state, per_min, _ = self.desk.state(key)
            assert claims.get(("quarantine", f"key:{key}"), state) == state
            assert claims.get(("throttle", f"key:{key}"), per_min) == per_min

    @invariant()
    def what_jackstop_did_by_itself_is_undone_when_its_claim_is_over(self) -> None:
        held = {
            (row["action"], row["target"])
            for row in self.desk.rows(tables.responses)
            if row["state"] == "applied" and row["ended_us"] is None
        }
        for key in set(self.keys) - self.by_hand:
            state, per_min, _ = self.desk.state(key)
            assert (state == "quarantined") == (("quarantine", f"key:{key}") in held)
            assert (per_min is not None) == (("throttle", f"key:{key}") in held)

    @invariant()
    def a_key_that_observes_is_only_touched_by_people(self) -> None:
        if self.keys[2] not in self.by_hand:
            assert self.desk.state(self.keys[2])[:2] == ("live", None)

    @invariant()
    def a_key_is_marked_exactly_while_it_is_in_a_grave_open_case(self) -> None:
        entities: dict[str, set[int]] = {}
        for row in self.desk.rows(tables.findings):
            entities.setdefault(row["entity"], set()).add(row["case_id"])
        grave = {
            row["id"]
            for row in self.desk.rows(tables.cases)
            if row["state"] == "open" and rank(row["severity"]) >= rank("medium")
        }
        for key in self.keys:
            assert self.desk.state(key)[2] == bool(entities.get(f"key:{key}", set()) & grave)

    @invariant()
    def the_audit_log_holds(self) -> None:
        assert isinstance(verify(self.store), Intact)


TestCases = Cases.TestCase
TestCases.settings = settings(max_examples=6, stateful_step_count=20, deadline=None)
