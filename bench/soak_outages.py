"""Control, disks and processes taken away under load, everything replaced, and what runs stopped by a word."""

import os
import random
import signal
import subprocess

from tests.acceptance import outages
from tests.acceptance.breaking import broken_in

AWAY_S = 60
REPLACEMENTS = 20
TRIALS = 100
STANDS = 5


def control_away(folder, seed):
    """A minute without control, killed and stopped, with tenfold headroom and with less."""
    chance = random.Random(seed)
    for how in (signal.SIGKILL, signal.SIGSTOP):
        own = folder / how.name
        own.mkdir()
        with broken_in(own) as system:
            figures = outages.take_control_away(system, chance, AWAY_S, how=how)
        room, kept = min(figures["headroom"]), figures["share with headroom"]
        yield f"control away for {AWAY_S} s by {how.name}, least headroom of a key", f"{room}-fold", ">= 10", room >= 10
        yield (
            "share of requests answered with it",
            f"{kept:.5f} of {figures['requests with headroom']}",
            ">= 0.999",
            (kept >= 0.999),
        )
        yield "why the others were not", figures["why not, with headroom"] or "none", "", True
        yield "share of requests answered without headroom", f"{figures['share without']:.3f}", "", True
        yield "why the others were not", figures["why not, without"], "", True
        over = figures["settled"] - figures["billed"] - figures["held open"]
        yield "settled less billed less open holds, nano-dollars", over, "0", over == 0


def full_disk(folder, seed):
    """No room for journals (as the system calls say), then a real file system that is full for everything."""
    (folder / "journal").mkdir()
    with broken_in(folder / "journal", JACKSTOP_JOURNAL_SEGMENT_BYTES="131072") as system:
        full = system.places / "full"
        figures = outages.fill_disk(system, random.Random(seed), full.touch, full.unlink)
    yield from _filled("the journals' disk", figures)
    if os.geteuid():
        yield "a file system of its own for everything", "left out: mounting one takes root", "", True
        return
    home = folder / "home"
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", home], check=True)
    try:
        with broken_in(home, JACKSTOP_JOURNAL_SEGMENT_BYTES="131072") as system:
            ballast = home / "ballast"
            figures = outages.fill_disk(system, random.Random(seed), lambda: _fill(ballast), ballast.unlink)
    finally:
        subprocess.run(["umount", "-l", home], check=False)
    yield from _filled("the disk of everything", figures)


def _fill(path):
    """Write until nothing fits any more."""
    with path.open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2


def _filled(what, figures):
    yield f"{what} full: requests refused `journal`", figures["refused journal"], "> 0", figures["refused journal"] > 0
    over = figures["settled"] - figures["billed"] - figures["held open"]
    yield f"{what} full: settled less billed less open holds, nano-dollars", over, "0", over == 0


def replaced(folder, seed):
    """Reloads and SIGTERM of single gates by turns, under keep-alive clients that never try again."""
    with broken_in(folder) as system:
        figures = outages.replace_all(system, random.Random(seed), REPLACEMENTS)
    yield "replacements", REPLACEMENTS, "", True
    yield "processes replaced", figures["replaced processes"], "", True
    yield "requests over kept connections", figures["requests"], "", True
    yield "of them failed", figures["failed"] or 0, "0", not figures["failed"]
    yield "connections that could not be made", figures["unreachable"], "0", not figures["unreachable"]
    yield "requests of the provider's SDK, no retries", figures["sdk requests"], "", True
    yield "of them failed", figures["sdk failures"] or 0, "0", not figures["sdk failures"]
    gained = figures["descriptors gained"]
    yield "file descriptors that the parent gained", gained, "0", not gained


def stopped(folder, seed):  # noqa: ARG001 -- nothing is drawn here
    """`key quarantine`, `key revoke`, `credential contain`: from the command's start to the last byte of any stream."""
    with broken_in(folder) as system:
        longest = outages.stop_keys(system, TRIALS)
    for name, (seconds, command_s, gates) in longest.items():
        yield f"{name}, streams over {gates} gates: longest to the last byte", f"{seconds:.3f} s", "< 1 s", seconds < 1
        yield f"{name}: longest until the command returned", f"{command_s:.3f} s", "", True


def standing(folder, seed):
    """A key is quarantined while one gate is stopped."""
    chance, served, waited = random.Random(seed), 0, 0
    with broken_in(folder) as system:
        for _ in range(STANDS):
            figures = outages.stop_a_key_while_a_gate_stands(system, chance)
            served, waited = served + figures["served"], waited + figures["waited"]
    yield "requests that waited at the stopped gate", waited, "> 0", waited > 0
    yield "of requests made after the quarantine, served", served, "0", not served


SECTIONS = {
    "control-away": ("control away for a minute", control_away),
    "full-disk": ("a full disk", full_disk),
    "replaced": ("everything replaced under load", replaced),
    "stopped": ("what runs is stopped", stopped),
    "standing": ("a key stopped while a gate stands still", standing),
}
