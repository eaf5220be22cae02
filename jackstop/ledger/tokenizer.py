"""Counts tokens exactly where a tokenizer is installed: the second look before a request is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from jackstop.ledger import allowances

# Models before gpt-4o, and the embeddings, have the older vocabulary.
# Source: https://github.com/openai/tiktoken, tiktoken/model.py, read 2026-11-23.
_OLDER = ("gpt-4-", "gpt-3.5", "gpt-35", "text-embedding-", "babbage", "davinci")
_OLDER_EXACT = frozenset({"gpt-4"})
# The tokenizer refuses a text of a million characters.
_PIECE_CHARS = 50_000


@lru_cache(maxsize=2)
def _encoder(vocabulary: str) -> Callable[[str], list[int]] | None:
    try:
        import bpe_openai
    except ImportError:
        return None
    encoding: Any = bpe_openai.get_encoding(vocabulary)
    encode: Callable[[str], list[int]] = encoding.encode_ordinary
    return encode


def load() -> None:
    """Read the usual vocabulary now: it takes a second in which nothing else of the process runs."""
    _encoder("o200k_base")


def _count(encode: Callable[[str], list[int]], text: str) -> int:
    return sum(len(encode(text[at : at + _PIECE_CHARS])) for at in range(0, len(text), _PIECE_CHARS))


def _elsewhere(encode: Callable[[str], list[int]], text: str, halves: int) -> int:
    """An upper estimate for a vocabulary that is not public, or not here: OpenAI's count times `halves` / 2.

    Twice OpenAI's count: Anthropic's newest tokenizer makes up to 1.35 times the tokens of the one before
    (https://platform.claude.com/docs/en/about-claude/pricing, read 2026-11-23), which itself stays within 1.3 of
    OpenAI's on English and code; for models with the one before, one and a half times. Runs that OpenAI's
    vocabulary happens to hold whole (blanks, say) count at least one token per three bytes, and what is not ASCII
    one per byte, beyond which no byte-level vocabulary goes.
    """
    plain = text.encode("ascii", "ignore")
    beyond = len(text.encode("utf-8", "surrogatepass")) - len(plain)
    return max(-(-halves * _count(encode, plain.decode("ascii")) // 2), -(-len(plain) // 3)) + beyond


def exact_input(texts: list[str], provider: str, model: str) -> int | None:
    """Tokens in `texts` with a margin, rounded up; None where no tokenizer is installed (extra `exact`).

    Takes milliseconds for large texts and a second for the first: call it in a thread.
    """
    older = provider == "openai" and (model in _OLDER_EXACT or model.startswith(_OLDER))
    encode = _encoder("cl100k_base" if older else "o200k_base")
    if encode is None:
        return None
    if provider == "openai":
        # A twentieth for what a template adds between the texts.
        return -(-sum(_count(encode, text) for text in texts) * 21 // 20)
    halves = 3 if provider == "anthropic" and model.startswith(allowances.CLAUDE_UNTIL_4_5) else 4
    return sum(_elsewhere(encode, text, halves) for text in texts)
