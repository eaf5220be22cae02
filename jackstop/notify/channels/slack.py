"""Slack, by an incoming webhook: Block Kit messages, with a button for each page and each command written out."""

from __future__ import annotations

from typing import Any

import msgspec

from jackstop.notify.channel import Channel
from jackstop.notify.channels import require_secret
from jackstop.notify.http import checked_url, deliver
from jackstop.notify.message import Message, is_link, one_line, shown_facts

OPTIONS: frozenset[str] = frozenset()
ASKS_FOR = "the webhook's URL"
MIN_SEVERITY = "medium"

# Block Kit's limits (docs.slack.dev/reference/block-kit/blocks, read 2026-11-23).
_HEADER_CHARS = 150
_TEXT_CHARS = 3_000
_FIELD_CHARS = 2_000
_FIELDS = 10
_BUTTONS = 25
_BUTTON_CHARS = 75

_SIGNS = {"info": "⚪", "low": "🔵", "medium": "🟡", "high": "🟠", "critical": "🔴"}


def check(options: dict[str, str], secret: str) -> dict[str, str]:
    """The webhook's URL is the secret: whoever has it may post."""
    checked_url(require_secret(secret, "pipe the webhook's URL in: Slack shows it once"), "the webhook's URL")
    return options


def send(channel: Channel, message: Message, now_us: int) -> None:  # noqa: ARG001 -- as every kind
    """Post one message. Raises Undelivered."""
    url = channel.secret.reveal().decode()
    deliver("POST", url, msgspec.json.encode(content(message)), {"Content-Type": "application/json"})


def content(message: Message) -> dict[str, Any]:
    """The message as Slack takes it. Nothing in it is mark-up but our own."""
    headline = f"{_sign(message)} {message.title}"
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(headline, _HEADER_CHARS)}]
    if message.newest.text.strip():
        blocks.append({"type": "section", "text": _mrkdwn(_escaped(message.newest.text), _TEXT_CHARS)})
    facts = shown_facts(message.facts)[:_FIELDS]
    if facts:
        fields = [_mrkdwn(f"*{_escaped(name)}*\n{_escaped(value)}", _FIELD_CHARS) for name, value in facts]
        blocks.append({"type": "section", "fields": fields})
    if message.remediation:
        what_to_do = f"*What to do*\n{_escaped(message.remediation)}"
        blocks.append({"type": "section", "text": _mrkdwn(what_to_do, _TEXT_CHARS)})
    if message.earlier:
        told = "\n".join(f"• {_escaped(line)}" for line in message.earlier)
        blocks.append({"type": "section", "text": _mrkdwn(f"*Before that*\n{told}", _TEXT_CHARS)})
    return {"text": _cut(_escaped(headline), _TEXT_CHARS), "blocks": blocks + _actions(message)}


def _sign(message: Message) -> str:
    return "✅" if message.newest.kind == "case.closed" else _SIGNS.get(message.severity, "")


def _actions(message: Message) -> list[dict[str, Any]]:
    links = [(label, target) for label, target in message.actions if is_link(target)][:_BUTTONS]
    commands = [(label, target) for label, target in message.actions if not is_link(target)]
    found: list[dict[str, Any]] = []
    if links:
        buttons = [
            {"type": "button", "text": _plain(label or "Open", _BUTTON_CHARS), "url": url, "action_id": f"open_{place}"}
            for place, (label, url) in enumerate(links)
        ]
        found.append({"type": "actions", "elements": buttons})
    if commands:
        lines = "\n".join(f"{_escaped(one_line(label))}: `{_escaped(one_line(line))}`" for label, line in commands)
        found.append({"type": "section", "text": _mrkdwn(lines, _TEXT_CHARS)})
    return found


def _plain(text: str, most: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": _cut(one_line(text), most), "emoji": True}


def _mrkdwn(text: str, most: int) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": _cut(text, most), "verbatim": True}


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _escaped(text: str) -> str:
    """The three characters by which Slack begins mentions and links, and the marks of code and bold."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return plain.replace("`", "'").replace("*", "")
