"""T2: a provider's own key is stolen, and used straight at the provider, past the gate.

It is passed on to buyers, whose calls come to about 32 USD a minute: the 46,080 USD a day that Sysdig reckoned as the
worst case of a stolen account ("LLMjacking: Stolen Cloud Credentials Used in New AI Attack", 2024-05-06).
"""

from __future__ import annotations

import time

from jackstop.sandbox.attacks.calls import CHAT, Line, Loot, chat, loot
from jackstop.sandbox.attacks.t1 import SOURCE

MODEL = "gpt-5-2025-08-07"
TOKENS = 32_000
EVERY_S = 0.6
GIVES_UP_AFTER = 5
LONGEST_S = 300


def resell(stolen: Loot) -> None:
    """One call after the other at a steady pace, until the provider refuses the key."""
    line = Line(stolen, SOURCE)
    began, refused = time.monotonic(), 0
    while refused < GIVES_UP_AFTER and time.monotonic() < began + LONGEST_S:
        due = time.monotonic() + EVERY_S
        text = f"[[sandbox: out={TOKENS}]] Write the next chapter."
        body = chat(MODEL, [{"role": "user", "content": text}], max_completion_tokens=TOKENS)
        refused = refused + 1 if line.call("POST", CHAT, body) >= 400 else 0
        time.sleep(max(0, due - time.monotonic()))
    line.close()


if __name__ == "__main__":
    resell(loot())
