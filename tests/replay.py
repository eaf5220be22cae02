"""Replays journals by their documented format (docs/journal.md) and nothing of the program's own code.

Holds at every record: on each lease, what is held and spent never exceeds what was leased.
"""

import json
import struct
import zlib
from collections import defaultdict
from pathlib import Path

ROLLED = 0xFFFFFFFF
START = 16


def records(folder):
    """Every record of one journal with its place, up to the end."""
    segment, offset = 0, START
    while (path := folder / f"{segment:08d}.seg").exists():
        data = path.read_bytes()
        assert data[:5] == b"JSKJ\x01"
        while True:
            if offset + 8 > len(data):
                break
            length, crc = struct.unpack_from("<II", data, offset)
            if length == ROLLED:
                break
            payload = data[offset + 8 : offset + 8 + length]
            if length == 0 or len(payload) < length or zlib.crc32(payload) != crc:
                return
            yield (segment, offset), json.loads(payload)
            offset += 8 + length
        segment, offset = segment + 1, START


class Replay:
    """What one journal comes to."""

    def __init__(self, folder):
        self.instance = Path(folder).name
        self.leased = defaultdict(int)
        self.held = defaultdict(int)
        self.spent = defaultdict(int)
        self.open = {}
        self.limit_of = {}
        self.overruns = 0
        self.events = []
        self.violations = []
        for place, record in records(Path(folder)):
            getattr(self, "_" + record["type"])(place, record)
            self._check(place, record)

    def _open(self, place, record):
        assert place == (0, START)

    def _close(self, place, record):
        pass

    def _flood(self, place, record):
        pass

    def _lease(self, place, record):
        self.leased[record["lease"]] += record["amount"]
        self.limit_of[record["lease"]] = (record["limit"], record["window"])

    def _hold(self, place, record):
        self.open[place] = record
        for lease, amount in record["on"]:
            self.held[lease] += amount

    def _event(self, place, record):
        self.events.append((f"{self.instance}-{place[0]}-{place[1]}", record["event"]))
        if not record.get("hold"):
            return
        hold = self.open.pop(tuple(record["hold"]))
        for lease, amount in hold["on"]:
            self.held[lease] -= amount
        over = False
        for lease, amount in record.get("on", []):
            self.spent[lease] += amount
            over = over or amount > dict(map(tuple, hold["on"]))[lease]
        self.overruns += over

    def _check(self, place, record):
        for lease in {lease for lease, _ in record.get("on", [])} | ({record["lease"]} if "lease" in record else set()):
            if self.held[lease] + self.spent[lease] > self.leased[lease]:
                self.violations.append((place, lease))


def replay_all(root):
    """Every journal below a folder."""
    return [Replay(folder) for folder in sorted(Path(root).iterdir()) if (folder / "00000000.seg").exists()]
