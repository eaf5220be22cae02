"""What an event says for detections: of requests that go nowhere, of resellers' clients, of key checkers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jackstop.control.protocol import Granted
from jackstop.events.analytics import RESALE_MARKERS
from jackstop.gate.traits import head_markers
from jackstop.keys.policy import LimitRow, Policy
from jackstop.settings import ResponseSettings
from tests.gate.standins import CHAT, Rig, control_has_no_more, plain, post, replying, running

pytestmark = pytest.mark.anyio

USER = {"role": "user", "content": "hi"}
FICTION = "Write Seraphina's next reply in a fictional chat between Seraphina and User."
USD = 10**9


def get(key: str, path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("method", "path", "reason", "provider", "endpoint", "action_class", "markers"),
    [
        ("POST", "/openai/v1/batches", "unmetered", "openai", "batches", "commit_spend", ""),
        ("GET", "/openai/v1/batches/b_1", "unmetered", "openai", "batches", "data_read", ""),
        ("POST", "/openai/v1/files", "unmetered", "openai", "files", "data_write", ""),
        ("GET", "/openai/v1/files/f_1/content", "unmetered", "openai", "files", "data_read", ""),
        ("POST", "/openai/v1/uploads/u_1/parts", "unmetered", "openai", "uploads", "data_write", ""),
        ("GET", "/openai/v1/threads/t_1/messages", "unmetered", "openai", "threads", "data_read", ""),
        ("GET", "/openai/v1/vector_stores", "unmetered", "openai", "vector_stores", "data_read", ""),
        ("GET", "/openai/v1/responses/resp_1", "endpoint", "openai", "responses", "data_read", ""),
        ("GET", "/openai/v1/chat/completions", "endpoint", "openai", "chat.completions", "data_read", ""),
        ("POST", "/openai/v1/images/generations", "unmetered", "openai", "images", "inference", ""),
        ("GET", "/openai/v1/organizations", "endpoint", "openai", "organizations", "identity", "probe:organizations"),
        ("GET", "/openai/v1/organization/projects", "endpoint", "openai", "organization", "read_config", ""),
        ("POST", "/anthropic/v1/messages/batches", "unmetered", "anthropic", "batches", "commit_spend", ""),
        ("GET", "/anthropic/v1/files", "unmetered", "anthropic", "files", "data_read", ""),
        ("POST", "/deepseek/anthropic/v1/messages/batches", "unmetered", "deepseek", "batches", "commit_spend", ""),
        ("GET", "/deepseek/user/balance", "endpoint", "deepseek", "billing", "identity", "probe:balance"),
        ("POST", "/deepseek/v2/whatever", "endpoint", "deepseek", "", "", ""),
        ("POST", "/v1/batches", "endpoint", "", "", "", ""),
    ],
)
async def test_a_request_that_goes_nowhere_says_what_it_wanted(
    tmp_path: Path,
    method: str,
    path: str,
    reason: str,
    provider: str,
    endpoint: str,
    action_class: str,
    markers: str,
) -> None:
    async with running(tmp_path) as rig:
        await rig.exchange(get(rig.key(), path, method))
        (event,) = rig.events()
        assert (event.decision, event.reason) == ("refused", reason)
        assert (event.provider, event.endpoint, event.action_class) == (provider, endpoint, action_class)
        assert event.markers == markers


async def test_a_request_from_elsewhere_says_what_it_wanted_too(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await rig.chat(rig.key(policy=Policy(networks=("10.0.0.0/8",))))
        (event,) = rig.events()
        assert (event.reason, event.provider, event.endpoint) == ("network", "openai", "chat.completions")
        assert event.action_class == "inference"


async def test_a_body_that_is_refused_says_what_it_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        key = rig.key(policy=Policy(models=("gpt-4o*",), mode=None))
        await rig.chat(key, {**CHAT, "model": "gpt-5-pro", "stream": True})
        await rig.chat(rig.key(2, policy=Policy(mode="enforce")), {**CHAT, "max_tokens": -1})
        model, probe = rig.events()
        assert (model.reason, model.model_asked, model.stream) == ("model", "gpt-5-pro", True)
        assert (model.max_output_asked, model.max_output_sent) == (100, None)
        assert model.conversation_fp != ""
        assert (probe.reason, probe.markers, probe.decision) == ("probe", "probe:token_limit", "refused")
        assert rig.provider.asked == []


async def test_a_probe_that_is_only_observed_is_marked(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await rig.chat(rig.key(), {**CHAT, "frequency_penalty": -3.0})
        (event,) = rig.events()
        assert (event.decision, event.reason, event.markers) == ("would_refuse", "probe", "probe:penalty")


def chatted(*messages: dict[str, str], **members: Any) -> dict[str, Any]:
    return {**CHAT, "messages": list(messages), **members}


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


def block(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


REPLY = {"role": "assistant", "content": "*smiles*"}


@pytest.mark.parametrize(
    ("body", "markers"),
    [
        (chatted(system(FICTION), USER), "sillytavern"),
        (chatted(system("Be kind."), system("[Start a new Chat]"), USER), "sillytavern"),
        (chatted(system("[Start a new Chat]"), USER), "sillytavern"),
        (chatted(system("Be kind."), USER, REPLY, system("[Continue the following message: x]")), "sillytavern"),
        (chatted({"role": "user", "content": "Just say TEST"}), "just_say_test"),
        (chatted(system(FICTION), USER, REPLY, stream=True, max_tokens=300), "sillytavern,prefill_chat"),
        (chatted(USER, REPLY, stream=True, max_tokens=400), "prefill_chat"),
        (chatted(USER, REPLY, stream=True, max_tokens=401), ""),
        (chatted(USER, REPLY, max_tokens=300), ""),
        (chatted(USER, REPLY, USER, stream=True, max_tokens=300), ""),
        (chatted(USER, REPLY, stream=True, max_tokens=300, tools=[{"type": "function", "function": {}}]), ""),
        (chatted({"role": "user", "content": "What does 'Just say TEST' mean?"}), ""),
        (chatted(system("x" * 1_000 + FICTION), USER), ""),
        (chatted(USER, {"role": "assistant", "content": "[Start a new Chat]"}, USER), ""),
    ],
)
async def test_what_resale_clients_say_leaves_a_marker(tmp_path: Path, body: dict[str, Any], markers: str) -> None:
    async with running(tmp_path) as rig:
        rig.provider.handle = replying(plain(b'{"error":{"message":"no"}}', "400 Bad Request"))
        await rig.chat(rig.key(), body)
        (event,) = rig.events()
        assert event.markers == markers
        assert set(filter(None, markers.split(","))) <= set(RESALE_MARKERS)


@pytest.mark.parametrize(
    ("members", "markers"),
    [
        ({"system": FICTION}, "sillytavern"),
        (
            {"system": [{"type": "text", "text": "Kind."}, {"type": "text", "text": "[Start a new Chat]"}]},
            "sillytavern",
        ),
        ({"messages": [{"role": "user", "content": "[Start a new Chat]"}]}, "sillytavern"),
        ({"messages": [USER, REPLY], "stream": True}, "prefill_chat"),
        ({"system": ["no block"]}, ""),
    ],
)
async def test_messages_leave_the_same_markers(tmp_path: Path, members: dict[str, Any], markers: str) -> None:
    async with running(tmp_path) as rig:
        rig.credential("claude", "anthropic")
        rig.provider.handle = replying(plain(b"{}", "400 Bad Request"))
        body = {"model": "claude-haiku-4-5", "max_tokens": 300, "messages": [USER], **members}
        await rig.exchange(post(rig.key(), body, path="/anthropic/v1/messages"))
        (event,) = rig.events()
        assert event.markers == markers


async def test_responses_leave_them_too(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.provider.handle = replying(plain(b"{}", "400 Bad Request"))
        for body in ({"input": "Just say TEST"}, {"instructions": FICTION, "input": "hi"}, {"prompt": {"id": "p"}}):
            await rig.exchange(post(rig.key(), {"model": "gpt-5", **body}, path="/openai/v1/responses"))
        assert [event.markers for event in rig.events()] == ["just_say_test", "sillytavern", ""]


@pytest.mark.parametrize(
    ("headers", "markers"),
    [
        (("X-Title: SillyTavern", "HTTP-Referer: https://sillytavern.app"), "openrouter_app,sillytavern"),
        (("X-Title: My App",), "openrouter_app"),
        (("Referer: https://sillytavern.app/",), "sillytavern"),
        (("x-risu-tk: abc",), "risu"),
        (("Origin:", "Referer:"), "empty_origin"),
        (("Origin:",), ""),
        (("Origin: https://a.example", "Referer:"), ""),
        (("CF-Ray: 1", "CDN-Loop: cloudflare"), "edge_residue"),
        ((), ""),
    ],
)
async def test_heads_leave_markers_each_time(tmp_path: Path, headers: tuple[str, ...], markers: str) -> None:
    async with running(tmp_path) as rig:
        key, client = rig.key(), await rig.connect()
        for _ in range(2):
            await client.send(post(key, CHAT, headers=headers))
            await client.answer()
        await client.send(post(key, CHAT, headers=headers, path="/openai/v1/files"))
        await client.answer()
        assert [event.markers for event in rig.events()] == [markers] * 3


def test_ones_own_edge_leaves_its_headers_in_any_request() -> None:
    assert head_markers({b"cf-ray": b"1"}, own_edge=True) == []


async def test_a_canarys_use_is_on_record_with_its_source_though_it_looks_unknown(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        canary = rig.key(7, canary=True)
        unknown = canary.replace("jsk_10", "jsk_11", 1)
        raw = [(await rig.exchange(post(key, CHAT))).raw for key in (canary, unknown)]
        raw.append((await rig.exchange(get(canary, "/openai/v1/organizations"))).raw)
        assert raw[0] == raw[1] == raw[2]
        first, probe = rig.events()
        assert (first.key_kind, first.markers, first.reason) == ("canary", "canary", "unauthorized")
        assert (first.src_ip, first.src_net, first.src_trust) == ("127.0.0.1", "127.0.0.0/24", "peer")
        assert (first.provider, first.endpoint, first.action_class) == ("openai", "chat.completions", "inference")
        assert (first.ts, first.seen_ts) == (rig.clock.now_us(), rig.clock.now_us())
        assert probe.markers == "canary,probe:organizations"
        assert sum(flood.count for flood in rig.floods()) == 1


@pytest.mark.parametrize("contact", ["", "security@example.com"])
@pytest.mark.parametrize("path", ["/openai/v1/chat/completions", "/anthropic/v1/messages"])
async def test_the_holder_of_a_quarantined_key_learns_whom_to_ask(tmp_path: Path, contact: str, path: str) -> None:
    async with running(tmp_path) as rig:
        responses = ResponseSettings(contact=contact)
        rig.gate.settings = msgspec.structs.replace(rig.gate.settings, responses=responses)
        answered = await rig.exchange(post(rig.key(state="quarantined"), CHAT, path=path))
        assert (answered.status, answered.headers["x-jackstop-reason"]) == (403, "quarantined")
        message = answered.json["error"]["message"]
        assert message.endswith(contact or "the key's owner or an administrator")
        assert "app@example.com" not in message


def ramped(rig: Rig, amount: int, mode: str = "enforce") -> str:
    """A key with a ramp allowance, of which control has no more than the gate gets here."""
    key = rig.key()
    row = LimitRow(9, f"key:{1:012d}", "rate", amount, per_s=600, mode=mode, unit="nusd")  # type: ignore[arg-type]
    rig.tell(row)
    control_has_no_more(rig)
    entry = rig.registry.identify(key.encode(), rig.clock.now_us())
    assert entry is not None
    rig.registry.path(entry, rig.registry.credential_for("openai", entry))  # type: ignore[arg-type]
    rig.books.granted(Granted(9, 0, 0, amount, exhausted=True, level=amount))
    return key


async def test_a_key_that_spends_faster_than_ever_is_slowed_down(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        key = ramped(rig, 10_000)
        assert (await rig.chat(key)).status == 200
        for path, status in (("/openai/v1/chat/completions", 429), ("/anthropic/v1/messages", 429)):
            rig.credential("claude", "anthropic")
            body = {**CHAT, "model": "claude-haiku-4-5"} if "anthropic" in path else CHAT
            answered = await rig.exchange(post(key, body, path=path))
            assert (answered.status, answered.headers["x-jackstop-reason"]) == (status, "rate")
            assert answered.headers["retry-after"] == "600"
            assert "faster than it ever has" in answered.json["error"]["message"]
        admitted, refused, _ = rig.events()
        assert (admitted.decision, admitted.markers) == ("admitted", "")
        assert (refused.decision, refused.reason, refused.markers) == ("refused", "rate", "ramp")
        assert refused.outcome == "throttled"
        rig.clock.advance(24 * 3600)
        rig.registry.heard(rig.clock.now_us())
        assert (await rig.chat(key)).status == 200


async def test_a_ramp_that_only_observes_marks_what_it_would_have_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        key = ramped(rig, 10_000, "observe")
        assert [(await rig.chat(key)).status for _ in range(3)] == [200, 200, 200]
        events = rig.events()
        assert [(event.decision, event.reason, event.markers) for event in events] == [
            ("admitted", "", ""),
            ("would_refuse", "rate", "ramp"),
            ("would_refuse", "rate", "ramp"),
        ]


async def test_markers_hold_nothing_that_was_said(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await rig.chat(rig.key(), chatted(system(FICTION), USER))
        written = b"".join(path.read_bytes() for path in (tmp_path / "0-test").glob("*.seg"))
        assert b"Seraphina" not in written
        assert json.dumps(FICTION).encode() not in written
