"""The state of every limit at every moment, put together afterwards from the journals of all gates.

A hold counts from the moment in its record until its event's end (`ts` + `latency_us`); what the event settles counts
from then on. The journals are read by tests/replay.py, without the program's own code.
"""

from collections import defaultdict
from pathlib import Path

from tests.replay import records

_ORDER = {"end": 0, "refused": 1, "hold": 2}


class Moment:
    """One thing that happened: a hold, its end, or a refusal."""

    __slots__ = ("charges", "event", "key", "kind", "settled", "ts")

    def __init__(self, ts, kind, key, event, charges=(), settled=()):
        self.ts, self.kind, self.key, self.event = ts, kind, key, event
        self.charges, self.settled = charges, settled


class Timeline:
    """All moments of some journals in the order of time; an end comes before a refusal at the same microsecond."""

    def __init__(self, root, instances=None):
        self.moments = []
        self.events = []
        self.open = {}
        for folder in sorted(Path(root).iterdir()):
            if (folder / "00000000.seg").exists() and (instances is None or folder.name in instances):
                self._read(folder)
        self.moments.sort(key=lambda moment: (moment.ts, _ORDER[moment.kind]))

    def _read(self, folder):
        limit_of, holds = {}, {}
        for place, record in records(folder):
            kind = record["type"]
            if kind == "lease":
                limit_of[record["lease"]] = (record["limit"], record["window"])
            elif kind == "hold":
                charges = [(limit_of[lease], amount) for lease, amount in record["on"]]
                holds[place] = (record, charges)
                self.moments.append(Moment(record["ts"], "hold", record["key"], None, charges))
            elif kind == "event":
                self._ended(folder.name, place, record, holds, limit_of)
        self.open |= {f"{folder.name}-{place[0]}-{place[1]}": hold for place, hold in holds.items()}

    def _ended(self, instance, place, record, holds, limit_of):
        event = record["event"]
        event["event_id"] = f"{instance}-{place[0]}-{place[1]}"
        event["kept"] = record.get("kept", False)
        self.events.append(event)
        end = event["ts"] + event.get("latency_us", 0)
        if record.get("hold"):
            held, charges = holds.pop(tuple(record["hold"]))
            event["hold_id"] = f"{instance}-{record['hold'][0]}-{record['hold'][1]}"
            event["hold_tokens"] = held["tokens"]
            settled = [(limit_of[lease], amount) for lease, amount in record.get("on", [])]
            # A hold is taken after the clock was read for the event that it belongs to, never before.
            self.moments.append(Moment(max(end, held["ts"]), "end", event["key_id"], event, charges, settled))
        elif event.get("decision") == "refused":
            self.moments.append(Moment(end, "refused", event.get("key_id", ""), event))

    def walk(self):
        """Each moment with what is (settled, held, open) on every limit and window just before it."""
        settled, held, running = defaultdict(int), defaultdict(int), defaultdict(int)
        for moment in self.moments:
            yield moment, settled, held, running
            sign = 1 if moment.kind == "hold" else -1
            for limit, amount in moment.charges:
                held[limit] += sign * amount
                running[limit] += sign
            for limit, amount in moment.settled:
                settled[limit] += amount
