"""Messages of every shape, and a channel of any kind that sends them."""

from __future__ import annotations

from jackstop.notify import channels
from jackstop.notify.message import Message
from tests.control.command_bench import NOON_US
from tests.notify.pieces import channel, message, news

LONG = message(*(news(n, title="t" * 900, text="x" * 9_000) for n in range(20)))
BARE = message(
    news(kind="test", case_id=None, group_key="", facts={}, actions=(), text="", severity="info", title="hello")
)
MESSAGES = [message(), message(news(1), news(2), news(3, kind="case.closed", facts={"verdict": "hijack"})), LONG, BARE]


def send(kind: str, sent: Message, secret: str = "", now_us: int = NOON_US, **options: str) -> None:
    checked = channels.find(kind).check(dict(options), secret)
    channels.find(kind).send(channel(kind, secret, **checked), sent, now_us)
