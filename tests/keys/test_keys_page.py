"""docs/keys.md is held to the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jackstop.keys import format as key_format

PAGE = (Path(__file__).parents[2] / "docs" / "keys.md").read_text(encoding="utf-8")
PEPPER = bytes.fromhex(re.search(r"`([0-9a-f]{64})` \(hex", PAGE)[1])  # type: ignore[index]
VECTORS = re.findall(r"^\| `(\S+)` \| `(\w+)` \| `([0-9a-f]{64})` \|$", PAGE, re.MULTILINE)
NO_KEYS = re.findall(r"^\| `(\S+)` \| [^|`]*(?:`[^|]*)?\|$", PAGE.partition("These are no keys")[2], re.MULTILINE)


def test_the_page_has_vectors() -> None:
    assert len(VECTORS) >= 4
    assert len(NO_KEYS) >= 5


@pytest.mark.parametrize(("key", "key_id", "digest"), VECTORS)
def test_vectors(key: str, key_id: str, digest: str) -> None:
    parsed = key_format.parse(key)
    assert parsed is not None
    assert parsed.id == key_id
    assert key_format.digest(PEPPER, key.encode()).hex() == digest
    assert re.fullmatch(key_format.PATTERN, key)


@pytest.mark.parametrize("text", NO_KEYS)
def test_what_the_page_calls_no_key(text: str) -> None:
    assert key_format.parse(text) is None


def test_the_page_has_the_regex() -> None:
    assert key_format.PATTERN in PAGE


def test_the_drawing_is_a_key() -> None:
    drawn = re.search(r"```\n(jsk_ .*)\n", PAGE)
    assert drawn is not None
    assert key_format.parse(drawn[1].replace(" ", "")) is not None
    assert drawn[1] in (key_format.__doc__ or "")
