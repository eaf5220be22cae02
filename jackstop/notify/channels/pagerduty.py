"""PagerDuty, by its Events API v2: one incident for a case, acknowledged and resolved with it."""

from __future__ import annotations

from typing import Any

import msgspec

from jackstop.clock import iso
from jackstop.errors import UserError
from jackstop.notify.channel import Channel
from jackstop.notify.channels import require_secret
from jackstop.notify.http import deliver, open_url
from jackstop.notify.message import Message, is_link, shown_facts
from jackstop.notify.outbox import News

OPTIONS = frozenset({"url", "source"})
ASKS_FOR = "the integration's routing key"
MIN_SEVERITY = "high"

# github.com/PagerDuty/api-schema, reference/events-v2/openapi.json, read 2026-11-23.
URL = "https://events.pagerduty.com/v2/enqueue"
_ROUTING_KEY_CHARS = 32
_SUMMARY_CHARS = 1_024
_DEDUP_CHARS = 255
_SEVERITIES = {"critical": "critical", "high": "error", "medium": "warning", "low": "info", "info": "info"}


def check(options: dict[str, str], secret: str) -> dict[str, str]:
    """`url` is for the service in the EU; `source` names this installation."""
    routing_key = require_secret(secret, "pipe in the routing key (Integration Key) of an Events API v2 integration")
    if len(routing_key) != _ROUTING_KEY_CHARS or not routing_key.isalnum():
        raise UserError("this is no routing key of PagerDuty", "it has 32 letters and digits: the Integration Key", 2)
    if "url" in options:
        options["url"] = open_url(options["url"], "the URL")
    return options


def send(channel: Channel, message: Message, now_us: int) -> None:  # noqa: ARG001 -- as every kind
    """Send what follows from the message. Raises Undelivered; doing it all again changes nothing at PagerDuty."""
    url = channel.options.get("url") or URL
    for event in events(message, channel.options.get("source") or "jackstop"):
        body = {"routing_key": channel.secret.reveal().decode(), **event}
        deliver("POST", url, msgspec.json.encode(body), {"Content-Type": "application/json"})


def events(message: Message, source: str) -> list[dict[str, Any]]:
    """The events, without their routing key.

    What waits for approval is an incident of its own, since it has a deadline and the case's may be acknowledged by
    then; a closed case resolves both.
    """
    case_key = message.subject_id[:_DEDUP_CHARS]
    approval_key = f"{message.subject_id[: _DEDUP_CHARS - 9]}-approval"
    if message.newest.kind == "case.closed":
        return [{"event_action": "resolve", "dedup_key": key} for key in (case_key, approval_key)]
    found = []
    others = [each for each in message.news if each.kind != "approval"]
    if not all(_is_acknowledged(each) for each in others):
        found.append(_trigger(message, case_key, source))
    if others and _is_acknowledged(others[-1]):
        found.append({"event_action": "acknowledge", "dedup_key": case_key})
    if len(others) < len(message.news):
        found.append(_trigger(message, approval_key, source))
    return found


def _is_acknowledged(news: News) -> bool:
    return news.kind == "case.updated" and bool(news.facts.get("acknowledged"))


def _trigger(message: Message, dedup_key: str, source: str) -> dict[str, Any]:
    links = [{"href": target, "text": label} for label, target in message.actions if is_link(target)]
    details: dict[str, Any] = {"text": message.newest.text, **dict(shown_facts(message.facts))}
    details |= {f"to do: {label}": target for label, target in message.actions if not is_link(target)}
    if message.remediation:
        details["what to do"] = message.remediation
    if message.earlier:
        details["before that"] = list(message.earlier)
    return {
        "event_action": "trigger",
        "dedup_key": dedup_key,
        "payload": {
            "summary": message.title[:_SUMMARY_CHARS],
            "source": source,
            "severity": _SEVERITIES.get(message.severity, "info"),
            "timestamp": iso(message.at_us[-1]),
            "component": str(message.facts.get("entity", "")) or "jackstop",
            "group": str(message.facts.get("team", "")) or "jackstop",
            "class": str(message.facts.get("detections", "")) or message.newest.kind,
            "custom_details": details,
        },
        "client": "Jackstop",
        "links": links,
    }
