"""What input costs beyond its text, and what prices the snapshot of genai-prices lacks: numbers with source and date.

Every number is an upper bound. Units are tokens unless the name says otherwise.
"""

from __future__ import annotations

from typing import Final

# Chat templates put a few tokens around each message and before the reply. 3 + 3 tokens for OpenAI's models by
# https://github.com/openai/openai-cookbook (How_to_count_tokens_with_tiktoken, read 2026-11-23); others keep theirs
# to themselves. The JSON around a message, which the bound counts as text, is at least 20 bytes on top.
PER_REQUEST: Final = 64
PER_MESSAGE: Final = 16
# Declaring a function in OpenAI's template: up to 12 tokens over its own text (same notebook, section 6).
PER_TOOL: Final = 32

# Anthropic adds a system prompt of its own as soon as a request has tools: 159 to 530 tokens, depending on model and
# tool_choice (https://docs.anthropic.com/en/docs/tool-use-pricing-and-tokens, read 2026-11-23; up to 804 on newer
# models by https://platform.claude.com/docs/en/about-claude/pricing#tool-use-pricing).
ANTHROPIC_TOOLS_PROMPT: Final = 1_024
# Tools whose schema Anthropic or OpenAI supplies are not in the body: bash 245-325, text editor 700, computer use
# 735 + 499, memory and web search about 2,500 (same pages). A toolset (browser_toolset, computer_toolset) brings
# some twenty of them.
BUILT_IN_TOOL: Final = 4_096
BUILT_IN_TOOLSET: Final = 24_576

# Dearest image of a model family, by prefix of the model id; the first match counts. Sources, read 2026-11-23:
# https://developers.openai.com/api/docs/guides/images-vision (tiles: base + 8 tiles of a 768 x 2048 image; patches:
# 1,536, from gpt-5.4 on 2,500 at `high` and 10,000 at `original`, times the model's multiplier),
# https://community.openai.com/t/1377015 (multipliers measured), and
# https://platform.claude.com/docs/en/build-with-claude/vision (1,568 px and about 1,600 tokens; 2,576 px and 4,784
# tokens from Opus 4.7 on), https://api-docs.deepseek.com/guides/vision (384 tokens).
IMAGE_BY_PREFIX: Final[dict[str, tuple[tuple[str, int], ...]]] = {
    "openai": (
        ("gpt-4o-mini", 48_169),
        ("gpt-4o", 1_445),
        ("gpt-4.1-mini", 2_489),
        ("gpt-4.1-nano", 3_779),
        ("gpt-4.1", 1_445),
        ("gpt-4-turbo", 1_445),
        ("o4-mini", 2_642),
        ("o1", 1_275),
        ("o3", 1_275),
    ),
    "anthropic": (
        ("claude-3", 1_700),
        ("claude-haiku-4-5", 1_700),
        ("claude-sonnet-4-5", 1_700),
        ("claude-opus-4-5", 1_700),
    ),
    "deepseek": (),
}
# Where no prefix matches: the dearest that the provider bills for one image on any model that takes one.
IMAGE: Final[dict[str, int]] = {"openai": 48_169, "anthropic": 5_000, "deepseek": 512}

# Price factors that the snapshot does not carry. A model without a published priority price is held at the dearest
# published ratio (gpt-5.5: 2.5, genai-prices 0.2.3); without one for fast mode at that of Claude Opus 4.6 (30 USD over
# 5 USD, https://platform.claude.com/docs/en/build-with-claude/fast-mode, read 2026-11-23).
PRIORITY_FACTOR: Final = (5, 2)
FAST_FACTOR: Final = (6, 1)
# US-only inference: 1.1 times every token price
# (https://platform.claude.com/docs/en/about-claude/pricing#data-residency-pricing, read 2026-11-23).
GEO_FACTOR: Final = (11, 10)
GEO_FREE: Final = frozenset({"", "global", "not_available"})
# Models before Claude Opus 4.6 run anywhere at one price, and refuse `inference_geo`
# (https://platform.claude.com/docs/en/build-with-claude/data-residency, read 2026-11-23). They also have the tokenizer
# before the present one.
CLAUDE_UNTIL_4_5: Final = (
    *("claude-2", "claude-instant", "claude-3", "claude-haiku-4-5", "claude-sonnet-4-0", "claude-sonnet-4-2025"),
    *("claude-sonnet-4-5", "claude-opus-4-0", "claude-opus-4-1", "claude-opus-4-2025", "claude-opus-4-5"),
)
# Cache writes without a price of their own, over the input price: none where the provider bills a write as input
# (OpenAI's models before gpt-5.6, DeepSeek); at Anthropic 1.25 for five minutes and 2 for an hour
# (https://platform.claude.com/docs/en/build-with-claude/prompt-caching#pricing), 2.5 for OpenAI's twelve hours
# (gpt-6.1-terra in genai-prices 0.2.3: 2.50 USD over 1 USD). Bedrock bills Claude's as Anthropic does.
CACHE_WRITE_FACTOR: Final[dict[str, tuple[int, int]]] = {
    "openai": (1, 1),
    "anthropic": (5, 4),
    "deepseek": (1, 1),
    "aws": (5, 4),
}
CACHE_WRITE_LONG_FACTOR: Final[dict[str, tuple[int, int]]] = {
    "openai": (5, 2),
    "anthropic": (2, 1),
    "deepseek": (1, 1),
    "aws": (2, 1),
}
# Providers that write to a cache without being asked and bill it (OpenAI from gpt-5.6 on, `prompt_cache_options`).
AUTOMATIC_CACHE: Final = frozenset({"openai"})
# Searches, in US cents per thousand calls (https://developers.openai.com/api/docs/pricing,
# https://platform.claude.com/docs/en/about-claude/pricing; also genai-prices 0.2.3).
WEB_SEARCH_CENTS_PER_1000: Final = 1_000
FILE_SEARCH_CENTS_PER_1000: Final = 250

# Context windows where the snapshot has none or an old one (https://api-docs.deepseek.com/quick_start/pricing, read
# 2026-11-23: all models 1M).
CONTEXT_WINDOW: Final[dict[str, int]] = {"deepseek": 1_048_576}
