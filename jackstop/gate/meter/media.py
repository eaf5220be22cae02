"""What a request's content carries besides text: images with their allowance, files that only a window bounds."""

from __future__ import annotations

from typing import Any

from jackstop.gate.meter.fields import Malformed, as_text
from jackstop.ledger import allowances

_MAX_DEPTH = 32
_IMAGE_PARTS = frozenset({"image_url", "image", "input_image"})


def image_tokens(provider: str, model: str) -> int:
    """The most that one image of any size costs on this model."""
    for prefix, tokens in allowances.IMAGE_BY_PREFIX.get(provider, ()):
        if model.startswith(prefix):
            return tokens
    return allowances.IMAGE.get(provider, max(allowances.IMAGE.values()))


class Seen:
    """Sums up the parts of one request as they are shown to it."""

    __slots__ = ("_image", "cache_write", "data_bytes", "feature", "tokens", "unbounded", "unmetered", "whole_context")

    def __init__(self, provider: str, model: str) -> None:
        self._image = image_tokens(provider, model)
        self.tokens = 0
        self.data_bytes = 0
        self.whole_context = False
        self.unbounded = ""
        self.unmetered = ""
        self.feature = ""
        self.cache_write = ""

    def image(self, data: Any) -> None:
        """An image; `data` is what carries it in the body and is no text, None where it is elsewhere."""
        if isinstance(data, str):
            self.data_bytes += len(data)
        self.tokens += self._image
        self.feature = self.feature or "image"

    def beyond(self, feature: str) -> None:
        """Something whose size the body does not show."""
        self.whole_context = True
        self.feature = feature

    def strange(self, kind: Any) -> None:
        """Something that nobody here has read: its content and what it sets off are unknown."""
        self.beyond("content")
        if not self.unbounded:
            self.unbounded = f"content of the type {str(kind)[:64]!r}, which this version does not know"

    def cached(self, control: Any) -> None:
        """A cache_control of Anthropic's."""
        if control is None:
            return
        if not isinstance(control, dict):
            raise Malformed("`cache_control` has to be an object")
        long = control.get("ttl") not in (None, "5m")
        self.cache_write = "long" if long or self.cache_write == "long" else "short"

    def chat_content(self, content: Any) -> str:
        """A message's content in OpenAI's chat dialect; returns its first text."""
        if content is None or isinstance(content, str):
            return content or ""
        if not isinstance(content, list):
            raise Malformed("`content` has to be a string or an array")
        first = ""
        for part in content:
            if isinstance(part, str):
                first = first or part
                continue
            kind = part.get("type") if isinstance(part, dict) else None
            if kind in ("text", "refusal"):
                said = part.get("text")
                first = first or (said if isinstance(said, str) else "")
            elif kind == "image_url":
                self.image(inline_image(part.get("image_url")))
            elif kind == "input_audio":
                self.unmetered = "audio"
            elif kind == "file":
                self.beyond("file")
            else:
                self.strange(kind)
        return first


def inline_image(value: Any) -> str | None:
    """The data URL of an image part of OpenAI's dialects, None for one that is elsewhere."""
    url = value.get("url") if isinstance(value, dict) else value
    return url if isinstance(url, str) and url.startswith("data:image/") else None


def content_texts(content: Any) -> list[str]:
    """The texts of one message's content, without the data of its images."""
    if not isinstance(content, list):
        return texts_of(content)
    found: list[str] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind in _IMAGE_PARTS:
            continue
        if kind == "tool_result":
            found += content_texts(part.get("content"))
            found += texts_of({name: value for name, value in part.items() if name != "content"})
        else:
            found += texts_of(part)
    return found


def message_texts(messages: Any) -> list[str]:
    """The texts of all messages or input items: their content, and every other member with its name."""
    if not isinstance(messages, list):
        return texts_of(messages)
    found: list[str] = []
    for message in messages:
        if isinstance(message, dict):
            found += content_texts(message.get("content"))
            found += texts_of({name: value for name, value in message.items() if name != "content"})
        else:
            found += texts_of(message)
    return found


def texts_of(value: Any, depth: int = 0) -> list[str]:
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
            found += texts_of(entry, depth + 1)
    elif isinstance(value, dict):
        for name, entry in value.items():
            found.append(name)
            found += texts_of(entry, depth + 1)
    else:
        found.append(str(value))
    return found
