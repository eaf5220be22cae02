"""DeepSeek's dialects: OpenAI's chat completions and Anthropic's messages, each with its own members and caps.

`max_tokens` covers the chain of thought as well (https://api-docs.deepseek.com/guides/thinking_mode, read 2026-11-23).
"""

from __future__ import annotations

from jackstop.gate.meter.anthropic_messages import MessagesMeter
from jackstop.gate.meter.openai_chat import MEMBERS_DEEPSEEK, ChatMeter

CHAT = ChatMeter("deepseek", ("max_tokens",), MEMBERS_DEEPSEEK)
MESSAGES = MessagesMeter("deepseek")
