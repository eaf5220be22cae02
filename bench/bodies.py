"""Request bodies as applications send them: conversations of a given size, always the same for the same size."""

import json
import random

KIB = 1024
TEXT = """\
the of and to in that is was for it with as his on be at by had not are but from or have an they which one you were her
all she there would their we him been has when who will more no if out so said what up its about into than them can only
other new some could time these two may then do first any my now such like our over man me even most made after also did
many before must through years where much your way well down should because each just those people how too little state
good very make world still own see men work long get here between both life being under never day same another know
while last might us great old year off come since against go came right used take three customer invoice délai order
“refund” shipment naïve account balance café request summary contract clause deadline
"""
WORDS = TEXT.split()
CODE = '```python\ndef total(rows):\n\treturn sum(row["amount"] for row in rows if row["state"] != "void")\n```\n'
TURN = 3 * KIB
"""About as long as an answer, or a question with what was looked up for it."""


def chat(model, size, **fields):
    """A body of Chat Completions, `size` bytes long: a system message, then the turns of a conversation."""
    chance = random.Random(size)
    messages = [{"role": "system", "content": "You answer for the support desk. Be brief; quote the order's number."}]
    body = {"model": model, "messages": messages, "temperature": 0.2, "max_tokens": 200, **fields}
    left = size - len(_raw(body))
    while left > 0:
        message = {"role": "user" if len(messages) % 2 else "assistant", "content": ""}
        room = left - len(_raw(message)) - 1
        if room < 0:
            messages[-1]["content"] += "." * left
            break
        message["content"] = _text(chance, TURN if room > 2 * TURN else room)
        messages.append(message)
        left -= len(_raw(message)) + 1
    return _raw(body)


def _raw(body):
    """As the official SDKs write it."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _text(chance, room):
    """Sentences, and now and then some code, that take just `room` bytes once they are in JSON."""
    parts, used = [], 0
    while used < room:
        sentence = " ".join(chance.choices(WORDS, k=chance.randrange(6, 22))).capitalize() + ". "
        part = "\n" + CODE if chance.random() < 0.05 else sentence
        length = len(_raw(part)) - 2
        if used + length > room:
            part, length = "x" * (room - used), room - used
        parts.append(part)
        used += length
    return "".join(parts)
