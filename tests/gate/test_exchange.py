"""Whole requests: from a client's bytes over the provider to the event."""

from __future__ import annotations

from pathlib import Path

from tests.gate.standins import SECRET, chat_body, chat_events, running, streaming


async def test_a_request_comes_back_as_the_provider_answered_it(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        key = rig.key()
        answered = await rig.chat(key)
        assert answered.status == 200
        assert answered.body == chat_body()
        asked = rig.provider.asked[0]
        assert asked.line == "POST /v1/chat/completions HTTP/1.1"
        assert asked.values("authorization") == [f"Bearer {SECRET.decode()}"]
        assert asked.header("host") == f"127.0.0.1:{rig.provider.port}"
        (event,) = rig.events()
        assert (event.outcome, event.status, event.decision) == ("ok", 200, "admitted")
        assert (event.input_tokens, event.output_tokens) == (20, 50)
        assert event.cost_nusd == 20 * 150 + 50 * 600
        assert event.hold_nusd is not None
        assert event.hold_nusd >= event.cost_nusd


async def test_a_stream_comes_back_without_the_usage_that_the_client_did_not_ask_for(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.provider.handle = streaming(chat_events())
        answered = await rig.chat(rig.key(), {"model": "gpt-4o-mini", "messages": [], "stream": True, "max_tokens": 9})
        assert answered.complete
        assert answered.body == b"".join(chat_events(usage=False))
        (event,) = rig.events()
        assert (event.outcome, event.output_tokens, event.stream) == ("ok", 50, True)
