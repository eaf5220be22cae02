"""Signs of the clients that buyers of resold access use, in what a chat-shaped request says; nothing of it is kept.

Sources: SillyTavern ba6f7b7 (its default prompts), cg-dot/oai-reverse-proxy 824adfb (`Just say TEST` is the first
message of Venus and Janitor; caps of at most 400 tokens), as listed in the project's detection notes (LJ-026). The
names are those of `events.analytics.RESALE_MARKERS`.
"""

from __future__ import annotations

from typing import Any

from jackstop.gate.meter.base import Ask

_FICTION = "next reply in a fictional chat between"
_ASIDES = ("[Start a new", "[Example Chat]", "[Continue the following message", "[Write the next reply only as")
_TEST = "Just say TEST"
_START_CHARS = 400
_SMALL_CAP = 400


def chat(ask: Ask, messages: list[Any], aside: str = "") -> tuple[str, ...]:
    """The markers of a chat. `aside` is a system message in brackets that is not its first, empty without one.

    Only the start of a text is looked at, however long it is.
    """
    system, first = ask.system_text, ask.first_text
    prefilled = ask.stream and _is_prefilled(ask, messages)
    if system.startswith(_ASIDES) or first.startswith(_ASIDES) or aside.startswith(_ASIDES):
        found: tuple[str, ...] = ("sillytavern",)
    else:
        found = ("sillytavern",) if _FICTION in system[:_START_CHARS] else ()
    if first == _TEST:
        found += ("just_say_test",)
    return (*found, "prefill_chat") if prefilled else found


def _is_prefilled(ask: Ask, messages: list[Any]) -> bool:
    """Whether it has a short answer begun by the client, and no tools: a chat as role play has it."""
    if ask.tools_n or ask.output_cap is None or ask.output_cap > _SMALL_CAP or not messages:
        return False
    last = messages[-1]
    return isinstance(last, dict) and last.get("role") == "assistant"
