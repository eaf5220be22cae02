"""A record is of one format: no other claims it."""

from __future__ import annotations

from typing import Any

import pytest

from jackstop.events import sources

BUCKET = {"object": "bucket", "start_time": 1, "end_time": 2, "results": []}
RECORDS: dict[str, Any] = {
    "openai_usage": BUCKET,
    "anthropic_usage": {"starting_at": "2026-03-05T00:00:00Z", "ending_at": "2026-03-06T00:00:00Z", "results": []},
    "litellm_spend": {"request_id": "r", "call_type": "acompletion", "startTime": "2026-03-05T00:00:00Z", "spend": 0,
                      "model": "m", "user": "u", "metadata": {}, "status": "success"},
    "openai_audit": {"id": "audit_log-1", "type": "api_key.created", "effective_at": 1, "actor": {"type": "session"},
                     "api_key.created": {"id": "k"}},
    "anthropic_activity": {"id": "activity_1", "type": "api_key_created", "created_at": "2026-03-05T00:00:00Z",
                           "actor": {"type": "user_actor"}},
    "gate": {"event_id": "a", "ts": 1, "seen_ts": 1, "source": "gate", "gate_id": "g", "decision": "admitted"},
    "access_log": {"remote_addr": "192.0.2.1", "status": "200", "request": "GET / HTTP/1.1"},
}  # fmt: skip
ROWS = {
    "openai_usage": {"start_time": "1", "end_time": "2", "start_time_iso": "x", "end_time_iso": "y"},
    "litellm_spend": {"request_id": "r", "call_type": "c", "startTime": "2026-03-05", "spend": "0", "api_key": "h"},
}
LINES = {
    "access_log": '192.0.2.1 - - [05/Mar/2026:12:00:00 +0000] "GET /v1/models HTTP/1.1" 200 5 "-" "curl/8.5.0"',
}


@pytest.mark.parametrize(
    ("name", "record"),
    [(name, record) for records in (RECORDS, ROWS, LINES) for name, record in records.items()],
)
def test_one_format_claims_it(name: str, record: Any) -> None:
    assert [each.name for each in sources.in_files() if each.claims(record)] == [name]
