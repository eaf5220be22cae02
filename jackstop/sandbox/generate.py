"""Tokens and text made from a request alone: the same body always gets the same answer.

The rule for input, published so that tests can recompute it: let T be the UTF-8 bytes of every text in the request
(contents, instructions, names, tool definitions as compact JSON) and M the number of messages. Then the input is
`min(ceil(T / 4) + 3 * M, T)` tokens, at least 1, and 85 more for each picture or file. Output is
`1 + (64 bits of BLAKE2b of the body, modulo the cap)` for each choice, unless a directive says otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

BYTES_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 3
TOKENS_PER_MEDIUM = 85
_MEDIA = ("image_url", "input_image", "image", "input_audio", "file", "input_file", "document")
_VOCABULARY = (
    b"able bank calm dark east fair game half idea join keep lake main name open page rain safe talk unit view warm "
    b"year zone acid bell card dish edge fact gold hand iron jump kind leaf mild neck oral palm ring salt tide upon "
)
_PERIOD = 4_096
_DEPTH = 12
_SIZE = 64


def _words() -> bytes:
    vocabulary = _VOCABULARY.split()
    state, words = 1, []
    for _ in range(_PERIOD):
        state = (state * 1_103_515_245 + 12_345) % 2**31
        words.append(vocabulary[(state >> 16) % len(vocabulary)])
    return b" ".join(words) + b" "


_WORDS = _words() * 2
_WIDTH = 5


def seed(body: bytes) -> int:
    """64 bits that depend on every byte of the body."""
    return int.from_bytes(hashlib.blake2b(body, digest_size=8).digest())


def output_tokens(seed_: int, cap: int) -> int:
    """How long an answer is without a directive: between 1 and the cap."""
    return 1 + seed_ % max(1, cap)


def text(seed_: int, start: int, tokens: int) -> str:
    """`tokens` words of four letters and a space, `start` words into the text of this seed."""
    first = (seed_ + start) % _PERIOD
    if tokens <= _PERIOD:
        return _WORDS[first * _WIDTH : (first + tokens) * _WIDTH].decode()
    repeated = _WORDS * (tokens // _PERIOD + 1)
    return repeated[first * _WIDTH : (first + tokens) * _WIDTH].decode()


class Count:
    """Adds up the texts, messages and media of one request."""

    __slots__ = ("media", "messages", "size")

    def __init__(self) -> None:
        self.size = 0
        self.messages = 0
        self.media = 0

    def text(self, value: object) -> None:
        """Count a string; anything else counts as nothing."""
        if isinstance(value, str):
            self.size += len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))

    def json(self, value: object) -> None:
        """Count a value as compact JSON."""
        if value:
            self.size += len(msgspec.json.encode(value))

    def content(self, value: object) -> None:
        """Count a message's content: a string, or parts that carry text, media or other parts."""
        if isinstance(value, str):
            self.text(value)
        elif isinstance(value, list):
            for part in value:
                self.part(part)

    def part(self, part: object) -> None:
        """Count one part of a content."""
        if isinstance(part, str):
            self.text(part)
        elif isinstance(part, Mapping):
            if part.get("type") in _MEDIA:
                self.media += 1
                return
            for name in ("text", "thinking", "name", "arguments", "refusal", "reasoning_content"):
                self.text(part.get(name))
            for name in ("content", "output", "summary"):
                self.content(part.get(name))
            self.json(part.get("input"))

    def tokens(self) -> int:
        """The input in tokens, by the rule of this module."""
        short = -(-self.size // BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE * self.messages
        return max(1, min(short, self.size)) + TOKENS_PER_MEDIUM * self.media


def sample(schema: object, root: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
    """A small value that a JSON schema accepts: for tool arguments and structured answers."""
    if not isinstance(schema, Mapping) or depth > _DEPTH:
        return {} if depth == 0 else None
    root = root or schema
    if isinstance(reference := schema.get("$ref"), str):
        found: Any = root
        for name in reference.removeprefix("#/").split("/"):
            found = found.get(name) if isinstance(found, Mapping) else None
        return sample(found, root, depth + 1)
    if "const" in schema:
        return schema["const"]
    for name in ("enum", "examples"):
        if isinstance(schema.get(name), list) and schema[name]:
            return schema[name][0]
    for name in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(name), list) and schema[name]:
            if depth > 2 and {"type": "null"} in schema[name]:
                return None
            return sample(schema[name][0], root, depth + 1)
    return _sample_of_type(schema, root, depth)


def _sample_of_type(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = kind[0] if kind else "null"
    if kind == "object":
        properties, needed = schema.get("properties"), schema.get("required")
        items = list(properties.items())[:_SIZE] if isinstance(properties, Mapping) else []
        if depth > 2:  # a schema that contains itself would go on for ever
            items = [(name, inner) for name, inner in items if isinstance(needed, list) and name in needed]
        return {name: sample(inner, root, depth + 1) for name, inner in items}
    if kind == "array":
        return [sample(schema.get("items"), root, depth + 1)] * _bound(
            schema, "minItems", 1 if depth < _DEPTH // 2 else 0
        )
    if kind == "string":
        return "practice".ljust(_bound(schema, "minLength", 0), "e")[: _bound(schema, "maxLength", _SIZE)]
    if kind in ("integer", "number"):
        return max(_bound(schema, "minimum", -_SIZE), min(1, _bound(schema, "maximum", 1)))
    return True if kind == "boolean" else None


def _bound(schema: Mapping[str, Any], name: str, otherwise: int) -> int:
    value = schema.get(name)
    return max(-_SIZE, min(_SIZE, value)) if isinstance(value, int) else otherwise
