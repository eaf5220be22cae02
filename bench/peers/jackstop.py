"""Jackstop itself, with everything on: admission, holds on three levels of limits, journal, books, lake."""

import os
from types import SimpleNamespace

import jackstop
from bench.peers.base import Running, pin
from jackstop.control import client
from jackstop.settings import Home
from tests.acceptance.system import System

NAME = "jackstop"
OWNER = "app@example.com"
BUDGET = "1000000usd/day"
RATE = "1000000req/min"
"""Limits are on every request's path, and so large that they refuse nothing."""


def install(cache):
    """It is the checkout itself."""


def version(cache):  # noqa: ARG001 -- the checkout has one
    return jackstop.__version__


def start(cache, folder, upstream, *, cores, workers=1, keys=1000, ca=None, environment=None, options=None):  # noqa: ARG001
    """`jackstop up` with the gates alone on `cores`, and everything else on the other cores.

    `environment` are further settings, `options` further options of `key issue` (as control takes them).
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"JACKSTOP_MODE": "enforce", "JACKSTOP_LOG_LEVEL": "warning", **(environment or {})}
    if ca:
        settings["JACKSTOP_GATE_UPSTREAM_CA"] = str(ca)
    system = System(folder, workers, settings, SimpleNamespace(url=upstream, stop=lambda: None))
    system.command("init", "--admin", "admin@example.com")
    add = ("credential", "add", "main", "--provider", "openai", "--base-url", upstream)
    system.command(*add, stdin="sk-upstream-of-the-bench\n")
    try:
        system.up()
        others = set(range(os.cpu_count())) - set(cores) or set(cores)
        for pid in (system.process.pid, *(each for pids in system.children().values() for each in pids)):
            pin(pid, cores if pid in system.gates() else others)
        made = issue(system, keys, options or {})
    except BaseException:
        system.stop()
        raise
    return Running(
        host="127.0.0.1",
        port=system.port,
        path="/openai/v1/chat/completions",
        headers=[f"authorization: Bearer {key}" for key in made],
        model="gpt-4o-mini",
        started=[system.process],
        serving=system.gates,
        closing=system.stop,
    )


def issue(system, count, options):
    """As many keys, one command after the other over control's socket, and budgets on the levels above them."""
    home = Home(system.home)
    base = {"owner": OWNER, "team": "bench", "budget": [BUDGET], "rate": [RATE], "provider": ["openai"]}
    keys = [client.ask(home, "key issue", {**base, "name": f"app-{n}", **options})["key"] for n in range(count)]
    for scope in ("org", "team:bench", f"owner:{OWNER}"):
        client.ask(home, "budget set", {"scope": scope, "amount": BUDGET})
    return keys
