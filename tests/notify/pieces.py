"""News and messages to test with."""

from __future__ import annotations

from typing import Any

from jackstop.notify.channel import Channel
from jackstop.notify.message import Message
from jackstop.notify.outbox import News
from jackstop.secret import Secret
from tests.control.command_bench import NOON_US

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ROUTING_KEY = "e93facc04764012d7bfb002500d5d1a6"

FACTS: dict[str, str | int] = {
    "entity": "key:abc123",
    "key": "abc123",
    "owner": "person:7",
    "team": "red",
    "detections": "spend_velocity, checker_probe",
    "attack": "T1078.004, T1496.004",
    "atlas": "AML.T0034",
    "findings": 3,
    "first_seen_us": NOON_US - 60_000_000,
    "last_seen_us": NOON_US,
    "cost_nusd": 12_500_000_000,
    "acknowledged": 0,
    "remediation": "Ask the owner. Rotate the key.",
}
ACTIONS = (("Show", "jackstop cases show 12"), ("Answer", "https://jackstop.example.com/cases/12"))


def news(number: int = 1, **changed: Any) -> News:
    given: dict[str, Any] = {
        "kind": "case.updated",
        "severity": "high",
        "title": f"Case 12: spend <b>jumped</b> & *more* #{number}",
        "text": "The key spends ten times what it did.\nIt asks for models it never asked for.",
        "case_id": 12,
        "uid": f"case-12-{number}",
        "group_key": "case-12",
        "facts": FACTS,
        "actions": ACTIONS,
        **changed,
    }
    return News(**given)


def message(*told: News, uid: str = "msg_0123456789abcdef") -> Message:
    told = told or (news(),)
    return Message(uid, "0a1b2c3d", told, tuple(NOON_US + place * 1_000_000 for place in range(len(told))))


def channel(kind: str, secret: str = "", **options: str) -> Channel:
    return Channel("here", kind, options, Secret(secret))
