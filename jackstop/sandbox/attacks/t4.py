"""T4: a key's own holder resells it: a proxy on the holder's network passes on what many buyers ask for.

What buyers say here is harmless; the shape is theirs: a chat client of their kind, streamed, a small constant cap, no
tools, another character for each of them, and conversations that grow side by side.
"""

from __future__ import annotations

from jackstop.sandbox.attacks.calls import CHAT, Line, Loot, chat, loot

HOLDER = "127.0.0.1"  # where the key may be used
CHARACTERS = (
    *("Ada", "Bo", "Cleo", "Dag", "Edda", "Finn", "Greta", "Hugo"),
    *("Ida", "Jon", "Kaya", "Leo", "Mira", "Nils", "Olga", "Per"),
)
TURNS = 60
GIVES_UP_AFTER = 8
CAP = 300
HEADERS = {"x-title": "SillyTavern", "http-referer": "https://sillytavern.app"}


def resell(stolen: Loot) -> None:
    """Pass on the buyers' turns, one after the other, until the key gives no more."""
    line = Line(stolen, HOLDER, HEADERS)
    refused = 0
    for turn in range(TURNS):
        for character in CHARACTERS:
            refused = refused + 1 if line.call("POST", CHAT, _turn(character, turn)) >= 400 else 0
            if refused >= GIVES_UP_AFTER:
                return
    line.close()


def _turn(character: str, turn: int) -> dict[str, object]:
    system = f"Write {character}'s next reply in a fictional chat between {character} and User. {character} likes tea."
    said = [{"role": "system", "content": system}]
    for past in range(turn):
        said.append({"role": "user", "content": f"Good morning, {character}. This is what happened on day {past}."})
        said.append({"role": "assistant", "content": "How nice. Do tell me more about it."})
    said.append({"role": "user", "content": f"[[sandbox: out=120 latency_ms=60]] And you, {character}?"})
    return chat("gpt-4o", said, max_tokens=CAP, temperature=1, stream=True)


if __name__ == "__main__":
    resell(loot())
