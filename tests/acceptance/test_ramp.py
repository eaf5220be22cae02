"""The ramp allowance in the whole program: two gates, a key that suddenly spends, and the provider's bill."""

import http.client
import json
import threading
import time

import pytest

from jackstop.keys.issue import LimitSpec, add_limit
from jackstop.settings import Home, Settings
from jackstop.store.engine import open_store
from tests.acceptance.callers import events_of

pytestmark = pytest.mark.slow

ALLOWED = 20_000_000
BODY = json.dumps(
    {
        "model": "gpt-4o",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Tell me more. [[sandbox: out=100]]"}],
    }
)


def add_ramp(system, key_id):
    """As the worker does for a key that it knows well enough; but enforced, and not one that it takes away again."""
    store = open_store(Settings(), Home(system.home))
    try:
        with store.begin() as conn:
            add_limit(conn, store, f"key:{key_id}", LimitSpec("rate", ALLOWED, per_s=600, unit="nusd"))
    finally:
        store.close()


def call_until_refused(system, key, most, refused):
    """Requests on one connection, one after the other, until one is refused because of what was spent."""
    connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=20)
    for _ in range(most):
        connection.request(
            "POST",
            "/openai/v1/chat/completions",
            BODY,
            {"authorization": f"Bearer {key}", "content-type": "application/json"},
        )
        answer = connection.getresponse()
        said = answer.read()
        if answer.status == 429:
            refused.append((answer.headers["x-jackstop-reason"], int(answer.headers["retry-after"]), said))
            if b"faster than it ever has" in said:
                break
    connection.close()


def test_two_gates_together_let_a_key_spend_its_allowance_and_no_more(own_system):
    system = own_system(workers=2).set_up()
    alone, alone_id = system.key("--budget", "100usd/day")
    many, many_id = system.key("--budget", "100usd/day")
    for key_id in (alone_id, many_id):
        add_ramp(system, key_id)
    system.up()

    began = time.monotonic()
    refused = []
    call_until_refused(system, alone, 200, refused)
    threads = [threading.Thread(target=call_until_refused, args=(system, many, 100, refused)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refilled = ALLOWED * (time.monotonic() - began + 1) / 600

    assert {reason for reason, _, _ in refused} == {"rate"}
    assert all(1 <= seconds <= 600 for _, seconds, _ in refused)
    for key_id in (alone_id, many_id):
        events = events_of(system, key_id, 2)
        assert any(event["markers"] == "ramp" and event["reason"] == "rate" for event in events)
        hold = max(event["hold_nusd"] or 0 for event in events)
        cost = sum(event["cost_nusd"] or 0 for event in events)
        assert 0.9 * ALLOWED <= cost <= ALLOWED + refilled + hold
    assert system.sandbox.cost() <= 2 * (ALLOWED + refilled + hold)
