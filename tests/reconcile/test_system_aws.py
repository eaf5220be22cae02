"""The whole program at AWS: a stolen Bedrock key, told by a request's id in a trail in moto's S3, is replaced."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import Any

import boto3
import pytest

from tests.acceptance.system import Sandbox, System, until
from tests.reconcile import trail

pytestmark = pytest.mark.slow

LONGEST_S = 200
LATER_US = 120_000_000
"""The trail dates everything later: what was used within a minute and a half of adding a key is held against nobody."""


def seeded(sandbox: Any) -> Any:
    body = json.dumps({"provider": "bedrock", "user": "gate"}).encode()
    request = urllib.request.Request(f"{sandbox.url}/_sandbox/keys", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def ask(url: str, secret: str) -> int:
    """One call; its status."""
    body = json.dumps(
        {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 20}
    ).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {secret}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_a_stolen_bedrock_key_is_seen_by_id_and_replaced(tmp_path: Any, moto: str) -> None:
    s3 = boto3.session.Session("setup", "setup").client("s3", endpoint_url=moto, region_name=trail.REGION)
    s3.create_bucket(Bucket=trail.BUCKET)
    with ExitStack() as stack:
        sandbox = Sandbox(tmp_path)
        stack.callback(sandbox.stop)
        system = System(tmp_path, sandbox=sandbox, environment={"JACKSTOP_RESPONSES_CONTAIN": "act"})
        stack.callback(system.stop)
        system.command("init", "--admin", "admin@example.com")
        key, mantle = seeded(sandbox), f"{sandbox.url}/bedrock-mantle"
        added = ["--base-url", mantle, "--provider-key-id", key["id"], "--exclusive"]
        system.command("credential", "add", "main", "--provider", "openai", *added, stdin=key["secret"] + "\n")
        office = ["--driver", "bedrock", "--base-url", f"{sandbox.url}/aws/iam", "--option", f"s3_url={moto}"]
        system.command("administration", "add", "aws", *office, stdin="AKIAPRACTICE00000000:practice-secret\n")
        place = ["--place", "user=gate", "--place", f"trail=s3://{trail.BUCKET}/{trail.PREFIX}"]
        system.command("credential", "link", "main", "--administration", "aws", *place)
        mine = system.key("--credential", "main")[0]
        system.up()
        for _ in range(3):
            assert ask(f"{system.url}/openai/v1/chat/completions", mine) == 200
        with urllib.request.urlopen(f"{sandbox.url}/_sandbox/requests", timeout=10) as answer:
            ours = {row["id"] for row in json.load(answer)}
        for _ in range(2):
            assert ask(f"{mantle}/v1/chat/completions", key["secret"]) == 200
        with urllib.request.urlopen(f"{sandbox.url}/_sandbox/requests", timeout=10) as answer:
            rows = [row for row in json.load(answer) if row["endpoint"] == "chat.completions"]
        assert len(rows) == 5
        records = [trail.inference(row | {"ts": row["ts"] + LATER_US}) for row in rows]
        trail.put(s3, records, rows[-1]["ts"] + LATER_US)

        (case,) = until(lambda: system.json("cases", "list"), "a case", LONGEST_S)
        assert (case["entity"], case["severity"]) == ("credential:main", "critical")
        until(lambda: ask(f"{mantle}/v1/chat/completions", key["secret"]) == 403, "the old key to end", LONGEST_S)
        assert ask(f"{system.url}/openai/v1/chat/completions", mine) == 200
        (row,) = system.json("reconcile")["credentials"]
        log = row["log"]
        assert (log["through"], log["outside"], log["verdict"]) == (3, 2, "act")
        assert {each["request_id"] for each in log["shadow"]}.isdisjoint(ours)
        assert "2 requests outside the gate by arn:aws:iam" in system.command("reconcile")
        written = "".join(path.read_text(errors="replace") for path in system.home.glob("logs/*"))
        assert key["secret"] not in written
