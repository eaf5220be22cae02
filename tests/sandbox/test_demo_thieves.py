"""What the demo's thieves do and never do, and when the theft of a provider's key begins."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from jackstop.sandbox.shadow import begins_us
from jackstop.sandbox.stage import PUBLISHED_AFTER_S
from tests.sandbox.conftest import Running

PATIENCE_S = 30
S = 1_000_000
MINUTE = 60 * S
PUBLISHED = PUBLISHED_AFTER_S * S
NOON = 1_795_435_200 * S


@contextmanager
def thief(module: str, loot: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-P", "-m", f"jackstop.sandbox.attacks.{module}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(loot))
        process.stdin.close()
        process.stdin = None
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("module", ["t1", "t2", "t4"])
def test_no_thief_leaves_loopback(module: str) -> None:
    with thief(module, {"host": "192.0.2.1", "port": 80, "key": "sk-practice", "how": "drain"}) as process:
        said, complaint = process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0
    assert said == ""
    assert "replays go to loopback only" in complaint


def test_a_provider_key_is_used_until_the_provider_refuses_it(sandbox: Running) -> None:
    place = {"project": "proj_shop", "service_account": "user-gate"}
    made = sandbox.post("/_sandbox/keys", {"provider": "openai", "id": "key_shop", **place})
    url = urlsplit(sandbox.url)
    with thief("t2", {"host": url.hostname, "port": url.port, "key": made["secret"], "how": "resell"}) as process:
        assert process.stdout is not None
        calls = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert {call["status"] for call in calls} == {200}
        with openai.OpenAI(admin_api_key="sk-admin-practice", base_url=f"{sandbox.url}/openai/v1") as client:
            client.admin.organization.projects.api_keys.delete("key_shop", project_id="proj_shop")
        rest, complaint = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, complaint
    calls += [json.loads(line) for line in rest.splitlines()]
    assert [call["status"] for call in calls[-5:]] == [401] * 5
    served = sum(1 for call in calls if call["status"] == 200)
    assert len(calls) == served + 5
    assert sandbox.bill()[0]["requests"] == served


@pytest.mark.parametrize("added_us", [NOON, NOON + 1, NOON + 31 * S, NOON + MINUTE - 1])
@pytest.mark.parametrize("after_s", [0, 1, 7, 29, 55, 61, 119])
def test_the_theft_of_a_provider_key_begins_where_a_reading_a_minute_later_shows_it(
    added_us: int, after_s: int
) -> None:
    now_us = added_us + after_s * S
    begins = begins_us(added_us, now_us)
    minute = begins - begins % MINUTE
    assert begins >= now_us
    assert minute >= added_us, "the minute is the key's own from its first second"
    assert begins + MINUTE >= minute + MINUTE + PUBLISHED, "a minute later this minute is published"
    assert minute + MINUTE - begins >= 10 * S, "there is enough left of it"
    assert begins - now_us <= MINUTE + PUBLISHED + 10 * S, "nobody waits for longer than that takes"
