"""The whole program: a key that was stolen from the vault's owner, used straight at the provider, becomes a case."""

from __future__ import annotations

import json
import threading
import urllib.request
from contextlib import ExitStack

import pytest

from tests.acceptance.system import Sandbox, System, until

pytestmark = [pytest.mark.slow, pytest.mark.long]

ADMIN = "sk-admin-practice-0123456789"
LONGEST_S = 200


def seeded(sandbox, **place):
    body = json.dumps({"provider": "openai", **place}).encode()
    request = urllib.request.Request(f"{sandbox.url}/_sandbox/keys", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def ask(url, secret, stop):
    """Dear calls, one after another until they are stopped."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2_000}
    headers = {"content-type": "application/json", "authorization": f"Bearer {secret}"}
    while not stop.wait(0.5):
        request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()


@pytest.fixture
def system(tmp_path):
    sandbox = Sandbox(tmp_path)
    made = System(tmp_path, sandbox=sandbox)
    with ExitStack() as stack:
        stack.callback(sandbox.stop)
        stack.callback(made.stop)
        sandbox.set_mode(publish_after_s=5)
        made.command("init", "--admin", "admin@example.com")
        yield made


def test_direct_use_of_a_stolen_key_becomes_a_case_and_use_through_the_gate_none(system):
    sandbox = system.sandbox
    for name in ("stolen", "sound"):
        key = seeded(sandbox, project=f"proj_{name}")
        link = ["--provider-key-id", key["id"], "--exclusive"]
        base = f"{sandbox.url}/openai"
        system.command(
            "credential", "add", name, "--provider", "openai", "--base-url", base, *link, stdin=key["secret"] + "\n"
        )
        if name == "stolen":
            secret = key["secret"]
    admin = ["--driver", "openai", "--base-url", f"{sandbox.url}/openai/v1"]
    system.command("administration", "add", "office", *admin, stdin=ADMIN + "\n")
    for name in ("stolen", "sound"):
        system.command("credential", "link", name, "--administration", "office", "--place", f"project=proj_{name}")
    keys = [system.key("--credential", name, name=name)[0] for name in ("stolen", "sound")]
    system.up()
    stop = threading.Event()
    work = [(f"{sandbox.url}/openai", secret), *((f"{system.url}/openai", key) for key in keys)]
    threads = [threading.Thread(target=ask, args=(*each, stop), daemon=True) for each in work]
    for thread in threads:
        thread.start()
    try:
        cases = until(lambda: system.json("cases", "list"), "a case", LONGEST_S)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert [case["entity"] for case in cases] == ["credential:stolen"]
    shown = system.json("cases", "show", str(cases[0]["id"]))
    assert "shadow_usage" in json.dumps(shown)
    found = {row["credential"]: row for row in system.json("reconcile")["credentials"]}
    assert found["stolen"]["verdict"] in {"over", "act"}
    assert found["sound"]["verdict"] == "fine"
    assert found["sound"]["reported_nusd"] <= found["sound"]["upper_nusd"]
    assert "stolen" in system.command("reconcile", "--fail-on", "over", status=1)
    written = "".join(path.read_text(errors="replace") for path in system.home.glob("logs/*"))
    assert secret not in written + json.dumps(shown) + json.dumps(found)
    assert ADMIN not in written + json.dumps(shown) + json.dumps(found)
