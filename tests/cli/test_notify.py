from __future__ import annotations

import json
from typing import Any

from jackstop.clock import SystemClock
from jackstop.events.schema import Event
from tests.cli.test_lake import put

SLACK = "https://hooks.slack.com/services/T000/B000/s3cret"


def test_a_channel_from_adding_to_removing(shell: Any, tmp_path: Any) -> None:
    assert "no channels" in shell.ok("notify", "list").out
    added = shell.ok("notify", "add", "team", "--kind", "slack", "--quiet", "mon-fri 22:00-06:00", stdin=SLACK)
    assert "notify test team" in added.out
    path = str(tmp_path / "findings")
    shell.ok("notify", "add", "siem", "--kind", "ocsf-file", "--option", f"path={path}", "--min-severity", "low")
    assert "quiet=mon-fri 22:00-06:00" in shell.ok("notify", "list").out
    rows = shell.ok("notify", "list", "--json").json
    assert [(row["name"], row["min_severity"]) for row in rows] == [("siem", "low"), ("team", "medium")]
    assert "up" in shell.ok("notify", "test", "team").out
    assert "A test of channel team" in shell.ok("notify", "outbox", "--state", "queued").out
    assert "no message is dead" in shell.ok("notify", "dead").out
    assert shell.ok("notify", "replay", "all", "--json").json == {"replayed": 0, "dropped": 0}
    assert "1 messages" in shell.ok("notify", "remove", "team").out
    assert "s3cret" not in shell.said


def test_wrong_use_is_said(shell: Any) -> None:
    for args in (
        ("add", "team", "--kind", "slack"),
        ("add", "team", "--kind", "pigeon"),
        ("add", "team", "--kind", "email", "--to", "a@example.com"),
        ("add", "team", "--kind", "slack", "--option", "quiet"),
        ("test", "team"),
        ("remove", "team"),
        ("replay", "none"),
        ("replay", "7"),
        ("replay", "9" * 30),
        ("outbox", "--state", "lost"),
    ):
        ran = shell("notify", *args)
        assert ran.status == 2, args
        assert len(ran.err.strip().split("\n")) == 2, ran.err


def test_events_are_exported_as_ocsf(shell: Any) -> None:
    now_us = SystemClock().now_us()
    events = [Event(ts=now_us + n, action="chat.completions", outcome="ok", src_ip="192.0.2.1") for n in range(3)]
    put(shell.home.lake, "one", events)
    lines = shell.ok("events", "export", "--format", "ocsf").out.splitlines()
    assert [json.loads(each)["class_uid"] for each in lines] == [6003] * 3
