"""Asks a meter about a body as the gate does."""

from __future__ import annotations

import json
from typing import Any

from jackstop.errors import Refused
from jackstop.gate.meter.base import Ask, Meter

USER = {"role": "user", "content": "Hello there"}


def ask(meter: Meter, body: dict[str, Any]) -> Ask:
    found = meter.ask(body, len(json.dumps(body)))
    assert isinstance(found, Ask), found
    return found


def refused(meter: Meter, body: dict[str, Any]) -> Refused:
    found = meter.ask(body, len(json.dumps(body)))
    assert isinstance(found, Refused), found
    return found


def rewritten(meter: Meter, body: dict[str, Any], cap: int | None) -> dict[str, Any]:
    raw = json.dumps(body).encode()
    found: dict[str, Any] = json.loads(meter.rewrite(raw, ask(meter, body), cap))
    return found
