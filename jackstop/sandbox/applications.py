"""Three small applications for the demo, written with the official SDKs as anyone would write them.

Nothing in them knows of Jackstop: base URL and key come from the SDKs' own environment variables. Each works until its
standard input ends, and prints a line of JSON for each request.
"""

from __future__ import annotations

import itertools
import json
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from jackstop.clock import SystemClock

PAUSE_S = 0.25


def shop_assistant() -> Iterator[Callable[[], object]]:
    """Answers customers with OpenAI, streaming."""
    import openai

    client = openai.OpenAI()
    questions = ("Where is my parcel?", "Does the blue one come in size 40?", "How do I send something back?")

    def answer(question: str) -> int:
        stream = client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[
                {"role": "system", "content": "You help the customers of a shoe shop."},
                {"role": "user", "content": question},
            ],
            max_completion_tokens=120,
            stream=True,
        )
        return sum(len(chunk.choices[0].delta.content or "") for chunk in stream if chunk.choices)

    for question in itertools.cycle(questions):
        yield partial(answer, question)


def support_triage() -> Iterator[Callable[[], object]]:
    """Sorts tickets with Anthropic."""
    import anthropic

    client = anthropic.Anthropic()
    tickets = ("I cannot sign in since Monday.", "The invoice names the wrong company.", "Thank you, all is well.")

    def sort(ticket: str) -> object:
        return client.messages.create(
            model="claude-haiku-4-5",
            system="Name the team that this ticket is for: accounts, billing or nobody.",
            messages=[{"role": "user", "content": ticket}],
            max_tokens=60,
        ).stop_reason

    for ticket in itertools.cycle(tickets):
        yield partial(sort, ticket)


def nightly_summaries() -> Iterator[Callable[[], object]]:
    """Sums up reports with DeepSeek, which the openai SDK speaks to as well."""
    import openai

    client = openai.OpenAI()

    def sum_up(number: int) -> object:
        report = f"Sum up in three sentences: report {number}, " + "all quiet. " * 40
        return client.chat.completions.create(
            model="deepseek-v4-flash", messages=[{"role": "user", "content": report}], max_tokens=200
        ).usage

    for number in itertools.count(1):
        yield partial(sum_up, number)


APPLICATIONS = {
    "shop-assistant": shop_assistant,
    "support-triage": support_triage,
    "nightly-summaries": nightly_summaries,
}


def work(name: str) -> None:
    """Make one request after the other, and say of each how it went."""
    for request in APPLICATIONS[name]():
        started = time.monotonic()
        error = ""
        try:
            request()
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
        line = {
            "application": name,
            "ts": SystemClock().now_us(),
            "ms": int((time.monotonic() - started) * 1000),
            "error": error,
        }
        print(json.dumps(line), flush=True)
        if select.select([sys.stdin], [], [], PAUSE_S)[0]:
            return


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the demo, which ends the standard input
    work(sys.argv[1])
