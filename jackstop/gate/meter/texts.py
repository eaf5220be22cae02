"""The texts of a request that become input tokens, for an exact count."""

from __future__ import annotations

from typing import Any

from jackstop.gate.meter.fields import Body, as_text

_MAX_DEPTH = 32
_IMAGES = frozenset({"image_url", "image", "input_image"})


def with_members(found: list[str], body: Body, names: tuple[str, ...]) -> list[str]:
    """The texts found so far and those of whole members, without the empty ones."""
    return [text for text in (*found, *(as_text(body.get(name)) for name in names)) if text]


def of_messages(messages: Any) -> list[str]:
    """The texts of all messages or input items: their content, and every other member with its name."""
    if not isinstance(messages, list):
        return _all(messages)
    found: list[str] = []
    for message in messages:
        found += _with_content(message) if isinstance(message, dict) else _all(message)
    return found


def of_content(content: Any) -> list[str]:
    """The texts of one message's content, without the data of its images."""
    if not isinstance(content, list):
        return _all(content)
    found: list[str] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind in _IMAGES:
            continue
        found += _with_content(part) if kind == "tool_result" else _all(part)
    return found


def _with_content(holder: dict[str, Any]) -> list[str]:
    rest = {name: value for name, value in holder.items() if name != "content"}
    return of_content(holder.get("content")) + _all(rest)


def _all(value: Any, depth: int = 0) -> list[str]:
    """Every string, number and member name below a part of the body."""
    if isinstance(value, str):
        return [value]
    if value is None:
        return []
    if depth > _MAX_DEPTH:
        return [as_text(value)]
    found: list[str] = []
    if isinstance(value, list):
        for entry in value:
            found += _all(entry, depth + 1)
    elif isinstance(value, dict):
        for name, entry in value.items():
            found.append(name)
            found += _all(entry, depth + 1)
    else:
        found.append(str(value))
    return found
