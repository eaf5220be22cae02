"""Refusals in each dialect, as the official SDKs understand them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, get_args

import anthropic
import openai
import pytest

from jackstop.errors import Reason, Refused
from jackstop.gate import refusals
from jackstop.keys.policy import LimitRow, Policy
from tests.gate.standins import control_has_no_more, post, running


@pytest.mark.parametrize("reason", get_args(Reason))
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_every_reason_has_an_answer_in_every_dialect(reason: Reason, dialect: Any) -> None:
    raw = refusals.answer(Refused(reason, "why"), dialect, close=False)
    head, _, body = raw.partition(b"\r\n\r\n")
    assert f"x-jackstop-reason: {reason}".encode() in head
    assert b"why" in body
    assert f"content-length: {len(body)}".encode() in head
    never = b"x-should-retry: false" in head
    assert never == (reason not in {"rate", "concurrency", "lease", "stale", "journal", "overload", "upstream"})
    assert never or reason == "upstream" or b"retry-after: 1" in head


CASES: dict[str, tuple[Policy, dict[str, Any], type[Exception], type[Exception], int, int]] = {
    "unauthorized": (Policy(), {}, openai.AuthenticationError, anthropic.AuthenticationError, 401, 401),
    "revoked": (Policy(), {"state": "revoked"}, openai.AuthenticationError, anthropic.AuthenticationError, 401, 401),
    "quarantined": (
        Policy(),
        {"state": "quarantined"},
        openai.PermissionDeniedError,
        anthropic.PermissionDeniedError,
        403,
        403,
    ),
    "model": (Policy(models=("x",)), {}, openai.PermissionDeniedError, anthropic.PermissionDeniedError, 403, 403),
    "budget": (Policy(), {}, openai.RateLimitError, anthropic.APIStatusError, 429, 402),
    "concurrency": (Policy(), {}, openai.RateLimitError, anthropic.RateLimitError, 429, 429),
    "stale": (Policy(), {}, openai.InternalServerError, anthropic.InternalServerError, 503, 529),
    "malformed": (Policy(), {}, openai.BadRequestError, anthropic.BadRequestError, 400, 400),
}


@pytest.mark.parametrize("reason", CASES)
async def test_the_sdks_raise_their_own_exceptions(reason: str, tmp_path: Path) -> None:
    policy, row, openai_error, anthropic_error, openai_status, anthropic_status = CASES[reason]
    async with running(tmp_path) as rig:
        rig.credential("other", "anthropic")
        key = rig.key(policy=policy, **row)
        if reason == "budget":
            rig.limit(LimitRow(1, "org", "usd", 100, "day"), 100)
            control_has_no_more(rig)
        elif reason == "concurrency":
            rig.limit(LimitRow(1, "org", "concurrency", 0), 0)
            control_has_no_more(rig)
        if reason == "stale":
            rig.clock.advance(3600)
        if reason == "unauthorized":
            key = key[:-1] + "_"
        loop = asyncio.get_running_loop()
        more = {"max_tokens": "many"} if reason == "malformed" else {}
        error = await loop.run_in_executor(None, ask_openai, rig.port, key, more)
        assert type(error) is openai_error
        assert error.status_code == openai_status
        assert error.response.headers["x-jackstop-reason"] == reason
        error = await loop.run_in_executor(None, ask_anthropic, rig.port, key, more)
        assert isinstance(error, anthropic_error)
        assert error.status_code == anthropic_status
        assert error.response.headers["x-jackstop-reason"] == reason


def ask_openai(port: int, key: str, more: dict[str, Any]) -> Any:
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/openai/v1", api_key=key, max_retries=0)
    with client, pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=100, extra_body=more
        )
    return caught.value


def ask_anthropic(port: int, key: str, more: dict[str, Any]) -> Any:
    client = anthropic.Anthropic(base_url=f"http://127.0.0.1:{port}/anthropic", api_key=key, max_retries=0)
    with client, pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(
            model="claude-haiku-4-5", messages=[{"role": "user", "content": "hi"}], max_tokens=100, extra_body=more
        )
    return caught.value


async def test_unknown_malformed_and_canary_keys_get_the_same_bytes(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        key = rig.key()
        canary = rig.key(2, canary=True)
        answers = {
            (await rig.exchange(post(presented))).raw
            for presented in (canary, key[:-1] + "_", key.replace("1", "2", 1), "sk-proj-abcdef", "x" * 4000, "jsk_")
        }
        answers.add((await rig.exchange(post("x").replace(b"Authorization: Bearer x\r\n", b""))).raw)
        assert len(answers) == 1
        assert b"connection: close" in answers.pop()
        (event,) = rig.events()
        assert (event.key_id, event.reason, event.key_kind, event.markers) == (
            "000000000002",
            "unauthorized",
            "canary",
            "canary",
        )
        assert sum(flood.count for flood in rig.floods()) == 6
