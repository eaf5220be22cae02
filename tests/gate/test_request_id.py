"""Which id of a request is kept: the one by which the provider's own logs know it."""

from __future__ import annotations

import pytest

from jackstop.events.schema import Event
from jackstop.gate.record import add_status

AWS, OPENAI = (b"x-amzn-requestid", b"6f0c-aws"), (b"x-request-id", b"req_1")
OTHER = (b"content-type", b"application/json")


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ([OTHER, OPENAI], "req_1"),
        ([OTHER], ""),
        # Where a dialect has an id of its own beside AWS's, whichever comes first.
        ([AWS, OPENAI], "6f0c-aws"),
        ([OPENAI, OTHER, AWS], "6f0c-aws"),
        ([OPENAI, (b"apim-request-id", b"azure")], "req_1"),
        ([(b"x-amzn-requestid", b"a" * 500)], "a" * 128),
    ],
)
def test_the_id_that_the_providers_logs_have_is_kept(headers: list[tuple[bytes, bytes]], kept: str) -> None:
    event = Event()
    add_status(event, 200, headers)
    assert event.request_id == kept
