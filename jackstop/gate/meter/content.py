"""What a request's content carries besides text: images with their allowance, files that only a window bounds.

Each dialect has a table of its kinds of parts; how they are read into an Ask stands here once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jackstop.gate.meter.base import Ask
from jackstop.gate.meter.fields import Malformed
from jackstop.ledger import allowances

Part = dict[str, Any]
Kinds = Mapping[str, Callable[[Ask, Part], str]]
"""What reads each kind of part into an Ask, and answers the part's text."""


def first_text(ask: Ask, content: Any, read: Callable[[Ask, Any], str], name: str = "content") -> str:
    """Read a string or an array of parts; returns the first text in it. Raises Malformed for another type."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        raise Malformed(f"`{name}` has to be a string or an array")
    first = ""
    for part in content:
        said = read(ask, part)
        first = first or said
    return first


def kind_of(part: Part) -> str:
    """The part's type, "" without one. Raises Malformed for another type."""
    kind = part.get("type")
    if isinstance(kind, list | dict):
        raise Malformed("`type` has to be a string")
    return kind if isinstance(kind, str) else ""


def text(ask: Ask, part: Part) -> str:  # noqa: ARG001
    """A part whose text is all it carries."""
    said = part.get("text")
    return said if isinstance(said, str) else ""


def in_body(ask: Ask, part: Part) -> str:  # noqa: ARG001
    """A part that is in the body as a whole, and no text of a person's."""
    return ""


def image_url(ask: Ask, part: Part) -> str:
    """An image as OpenAI's dialects carry it: a data URL in the body, or one that is elsewhere."""
    value = part.get("image_url")
    url = value.get("url") if isinstance(value, dict) else value
    return image(ask, url if isinstance(url, str) and url.startswith("data:image/") else None)


def image(ask: Ask, data: Any) -> str:
    """An image; `data` is what carries it in the body and is no text, None where it is elsewhere."""
    if isinstance(data, str):
        ask.input_bound -= len(data)
    ask.images_n += 1
    ask.feature = ask.feature or "image"
    return ""


def audio(ask: Ask, part: Part) -> str:  # noqa: ARG001
    """Sound, which no usage report splits from text at its price."""
    ask.unmetered = "audio"
    return ""


def file(ask: Ask, part: Part) -> str:  # noqa: ARG001
    """A file of any size."""
    return elsewhere(ask, "file")


def elsewhere(ask: Ask, feature: str) -> str:
    """Something whose size the body does not show."""
    ask.whole_context = True
    ask.feature = feature
    return ""


def unknown(ask: Ask, kind: Any) -> str:
    """A part that nobody here has read up on: its content and what it sets off are unknown."""
    elsewhere(ask, "content")
    ask.unbounded = ask.unbounded or f"content of the type {str(kind)[:64]!r}, which this version does not know"
    return ""


def cache_control(ask: Ask, control: Any) -> None:
    """A cache_control of Anthropic's, at any place."""
    if control is None:
        return
    if not isinstance(control, dict):
        raise Malformed("`cache_control` has to be an object")
    is_long = control.get("ttl") not in (None, "5m")
    ask.cache_write = "long" if is_long or ask.cache_write == "long" else "short"


def image_tokens(provider: str, model: str) -> int:
    """The most that one image of any size costs on this model."""
    for prefix, tokens in allowances.IMAGE_BY_PREFIX.get(provider, ()):
        if model.startswith(prefix):
            return tokens
    return allowances.IMAGE.get(provider, max(allowances.IMAGE.values()))


def bound_input(ask: Ask, provider: str, tokens: int) -> None:
    """Close the bound on input, the body's bytes so far: add `tokens` of templates and tools, and what images cost."""
    ask.allowance += tokens
    if ask.images_n:
        ask.allowance += ask.images_n * image_tokens(provider, ask.model)
    ask.input_bound = max(0, ask.input_bound) + ask.allowance
