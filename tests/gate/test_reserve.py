"""Budgets and leases as a client meets them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from jackstop.gate.journal import Recorded
from jackstop.keys.policy import LimitRow, Policy
from tests.gate.standins import (
    CHAT,
    Rig,
    chat_body,
    chat_events,
    control_has_no_more,
    plain,
    post,
    replying,
    running,
    streaming,
)

STREAM = {**CHAT, "stream": True}
COST = 20 * 150 + 50 * 600
"""Nano-dollars of the usage that the stand-in reports, at gpt-4o-mini's list price."""


def only(rig: Rig) -> Recorded:
    (record,) = rig.records(Recorded)
    return record


async def test_a_budget_that_does_not_suffice_refuses_and_names_a_cap_that_fits(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        key = rig.key()
        rig.limit(LimitRow(1, "org", "usd", 40_000, "day"), 40_000)
        control_has_no_more(rig)
        answered = await rig.chat(key, {**CHAT, "max_tokens": 1000})
        assert (answered.status, answered.reason) == (429, "budget")
        assert answered.headers["x-should-retry"] == "false"
        fits = answered.json["error"]["jackstop"]["fitting_cap"]
        assert 0 < fits < 1000
        assert f"at most {fits} tokens" in answered.json["error"]["message"]
        assert (await rig.chat(key, {**CHAT, "max_tokens": fits})).status == 200
        assert len(rig.provider.asked) == 1


async def test_money_that_a_running_request_holds_is_worth_a_retry(tmp_path: Path) -> None:
    go = asyncio.Event()
    async with running(tmp_path) as rig:
        key = rig.key()
        rig.limit(LimitRow(1, "org", "usd", 150_000, "day"), 150_000)
        control_has_no_more(rig)
        rig.provider.handle = streaming(chat_events(), gate=go)
        client = await rig.connect()
        await client.send(post(key, {**STREAM, "max_tokens": 150}))
        await client.reader.readuntil(b"\r\n\r\n")
        answered = await rig.chat(key, {**CHAT, "max_tokens": 100})
        assert (answered.status, answered.reason, answered.headers["retry-after"]) == (429, "lease", "1")
        assert "still running" in answered.json["error"]["message"]
        assert (await rig.chat(key, {**CHAT, "max_tokens": 5_000})).reason == "budget"
        go.set()
        await rig.until(lambda: len(rig.events()) == 3)
        rig.provider.handle = replying(plain(chat_body()))
        assert (await rig.chat(key, {**CHAT, "max_tokens": 100})).status == 200


@pytest.mark.parametrize("policy", [Policy(clamp=True), Policy()])
async def test_clamp_lowers_the_cap_to_what_is_left(tmp_path: Path, policy: Policy) -> None:
    async with running(tmp_path) as rig:
        key = rig.key(policy=policy)
        rig.limit(LimitRow(1, "org", "usd", 40_000, "day"), 40_000)
        control_has_no_more(rig)
        answered = await rig.chat(key, {**CHAT, "max_tokens": 1000})
        assert answered.status == (200 if policy.clamp else 429)
        if policy.clamp:
            sent = rig.provider.asked[0].json["max_tokens"]
            assert 0 < sent < 1000
            event = only(rig).event
            assert (event.max_output_asked, event.max_output_sent) == (1000, sent)
            assert event.hold_nusd is not None
            assert event.hold_nusd <= 40_000


async def test_a_client_that_leaves_while_it_waits_holds_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, lease_wait_ms=50) as rig:
        rig.limit(LimitRow(1, "org", "usd", 10**12, "day"), 0)
        client = await rig.connect()
        await client.send(post(rig.key()))
        await rig.until(lambda: rig.gate.exchanges)
        client.cut()
        await rig.quiet()
        assert (only(rig).event.outcome, rig.holds(), rig.provider.asked) == ("cancelled", [], [])


async def test_a_lease_that_comes_in_time_serves_who_waits(tmp_path: Path) -> None:
    async with running(tmp_path, lease_wait_ms=5000) as rig:
        row = LimitRow(1, "org", "usd", 10**12, "day")
        rig.limit(row, 0)
        asked = asyncio.ensure_future(rig.chat(rig.key()))
        await rig.until(lambda: rig.gate.exchanges)
        rig.limit(row, 10**9)
        assert (await asked).status == 200


async def test_a_lease_that_does_not_come_is_a_retry(tmp_path: Path) -> None:
    async with running(tmp_path, lease_wait_ms=10) as rig:
        rig.limit(LimitRow(1, "org", "usd", 10**12, "day"), 0)
        answered = await rig.chat(rig.key())
        assert (answered.status, answered.reason, answered.headers["retry-after"]) == (429, "lease", "1")
        assert only(rig).event.outcome == "throttled"


@pytest.mark.parametrize(("leased", "counted"), [(10_000_000, True), (10_000_000_000, False)])
async def test_a_large_prompt_is_counted_before_it_takes_much_of_a_budget(
    tmp_path: Path, leased: int, counted: bool
) -> None:
    pytest.importorskip("bpe_openai")
    async with running(tmp_path) as rig:
        key = rig.key()
        rig.limit(LimitRow(1, "org", "usd", leased, "day"), leased)
        said = "a budget of so many words " * 800
        chat = {**CHAT, "messages": [{"role": "user", "content": said}], "max_tokens": 50}
        assert (await rig.chat(key, chat)).status == 200
        hold = only(rig).event.hold_nusd
        assert hold is not None
        assert (hold < len(said) * 150 // 2) is counted
