"""What a long run saw, kept in a database file instead of memory, and what its parts must agree on in the end.

Clients, provider, lake and journals each fill a table of their own; nothing here knows the program's own code.
"""

import sqlite3
import traceback
from bisect import bisect_right
from collections import Counter
from itertools import accumulate

import pyarrow.parquet

from tests.acceptance.reckoning import UNITS_PER_NUSD, ident
from tests.acceptance.system import get
from tests.replay import Replay

UNRECORDED = ("journal", "unauthorized")
"""Reasons for which a refused request has no event of its own: they are counted by the second."""
_OVERLAP = 4_000
"""The provider's rows come in the order of their ends: those that ended late are within so many of the newest."""
_LAKE_COLUMNS = ("event_id", "request_id", "user_agent", "key_id", "cost_nusd", "hold_nusd", "estimated")
_TABLES = """
CREATE TABLE met (agent TEXT, request TEXT, key TEXT, kind TEXT, decision TEXT, status INT, reason TEXT,
                  started_us INT, first_us INT, ended_us INT);
CREATE TABLE provider (seq INTEGER PRIMARY KEY, request TEXT, credential TEXT, status INT, units INT);
CREATE TABLE lake (event_id TEXT, request TEXT, agent TEXT, key_id TEXT, cost INT, hold INT, estimated INT);
CREATE TABLE journal (event_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE hold (id TEXT PRIMARY KEY, key_id TEXT, nusd INT) WITHOUT ROWID;
CREATE TABLE book (scope TEXT, kind TEXT, per TEXT, amount INT, settled INT, leased INT, over INT);
CREATE TABLE holder (key_id TEXT, credential TEXT);
CREATE TABLE span (key_id TEXT, began_us INT, ended_us INT);
CREATE TABLE sample (at REAL, role TEXT, pid INT, rss_mb REAL, descriptors INT, threads INT, cpu_s REAL);
CREATE TABLE disk (at REAL, what TEXT, bytes INT, files INT);
CREATE INDEX met_started ON met (kind, started_us);
"""
_INDEXES = """
CREATE INDEX met_agent ON met (agent);
CREATE INDEX provider_request ON provider (request);
CREATE INDEX lake_request ON lake (request);
CREATE INDEX lake_agent ON lake (agent);
CREATE INDEX lake_key ON lake (key_id);
CREATE INDEX provider_credential ON provider (credential);
CREATE INDEX span_key ON span (key_id);
"""


class Lean(Replay):
    """A journal's replay that keeps the names of events alone, and from when to when the requests of some keys ran."""

    def __init__(self, folder, keys):
        self.names = []
        self.spans = []
        self._keys = keys
        super().__init__(folder)

    def _event(self, place, record):
        held = self.open.get(tuple(record.get("hold") or ()))
        if held is not None and held["key"] in self._keys:
            event = record["event"]
            end = max(event["ts"] + event.get("latency_us", 0), held["ts"])
            self.spans.append((held["key"], held["ts"], end))
        super()._event(place, record)
        self.names.append(self.events.pop()[0])


class Records:
    """The tables, and the questions to them. One thread at a time."""

    def __init__(self, path):
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _TABLES)
        self._newest = 0
        self.reasons = Counter()
        self.violations = Counter()

    def ask(self, statement, *values):
        return self._db.execute(statement, values).fetchall()

    def one(self, statement, *values):
        return self.ask(statement, *values)[0][0] or 0

    def _add(self, table, rows):
        rows = list(rows)
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self._db.execute("BEGIN")
            self._db.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)
            self._db.execute("COMMIT")

    # -- while it runs ------------------------------------------------------------------------------------------

    def take_met(self, met):
        """Move what the clients met out of their list."""
        taken = met[:]
        del met[: len(taken)]
        self.reasons.update(each.reason for each in taken if each.reason)
        self._add(
            "met",
            (
                (
                    *(each.agent, ident(each.request_id), each.key, each.ask.kind, each.decision, each.status),
                    *(each.reason, each.started_us, each.first_us, each.ended_us),
                )
                for each in taken
            ),
        )

    def take_provider(self, url, *, everything=False):
        """The provider's new rows. It keeps only the last 100,000, so this has to be asked for now and then."""
        after = 0 if everything else max(0, self._newest - _OVERLAP)
        rows = get(f"{url}/_sandbox/requests?after={after}", 60)
        self._newest = max([self._newest, *(row["seq"] for row in rows)])
        self._add(
            "provider",
            ((row["seq"], ident(row["id"]), row["credential"], row["status"], row["units"]) for row in rows),
        )

    def take_samples(self, samples):
        self._add("sample", samples)

    def take_disk(self, rows):
        self._add("disk", rows)

    # -- in the end ---------------------------------------------------------------------------------------------

    def read(self, system):
        """Lake, journals, books and holds of a system at rest."""
        self.take_provider(system.sandbox.url, everything=True)
        for path in sorted((system.home / "lake").glob("date=*/*.parquet")):
            columns = pyarrow.parquet.read_table(path, columns=list(_LAKE_COLUMNS)).to_pydict().values()
            self._add("lake", ((row[0], ident(row[1] or ""), *row[2:]) for row in zip(*columns, strict=True)))
        self._add("hold", ((hold["id"], hold["key_id"], hold["nusd"]) for hold in system.open_holds()))
        self._add("holder", ((holder.id, holder.on_bill) for holder in system.every_holder))
        with sqlite3.connect(f"file:{system.home}/jackstop.db?mode=ro", uri=True) as store:
            self._add(
                "book",
                store.execute(
                    'SELECT scope, kind, "window", w.amount, settled, leased, "over" FROM windows w'
                    " JOIN limits l ON l.id = w.limit_id"
                ).fetchall(),
            )
        store.close()
        self._read_journals(system)
        self._db.executescript(_INDEXES)

    def _read_journals(self, system):
        system.keeper.look()
        held_open = {row[0] for row in self.ask("SELECT id FROM hold")}
        for folder in sorted(system.keeper.kept.iterdir()):
            if not (folder / "00000000.seg").exists():
                self.violations["journals without their beginning"] += 1
                continue
            try:
                replay = Lean(folder, {key for key, gauge in system.gauged.items() if gauge})
            except Exception:
                traceback.print_exc()
                self.violations["journals that do not replay"] += 1
                continue
            self._add("journal", ((name,) for name in replay.names))
            self._add("span", replay.spans)
            self.violations["records after which more is held than leased"] += len(replay.violations)
            self.violations["overruns"] += replay.overruns
            self.violations["open holds that are not listed"] += sum(
                f"{folder.name}-{segment}-{offset}" not in held_open for segment, offset in replay.open
            )
            self.violations["journals"] += 1

    # -- what must hold -----------------------------------------------------------------------------------------

    def passed_limits(self):
        """Windows of any limit in which more was settled and leased than its amount, and keys billed beyond theirs."""
        windows = self.one("SELECT count(*) FROM book WHERE settled + leased > amount OR over != 0")
        keys = self.one(
            "SELECT count(*) FROM holder JOIN book ON scope = 'key:' || key_id AND kind = 'usd' AND per = 'life'"
            " WHERE (SELECT sum(units) FROM provider p WHERE p.credential = holder.credential) > amount * ?",
            UNITS_PER_NUSD,
        )
        return windows, keys

    def most_in_a_minute(self, key_id):
        """The most requests of a key that were let through in any minute."""
        began = [row[0] for row in self.ask("SELECT began_us FROM span WHERE key_id = ? ORDER BY 1", key_id)]
        return max((at - bisect_right(began, ts - 60_000_000) + 1 for at, ts in enumerate(began)), default=0)

    def most_at_once(self, key_id):
        """The most requests of a key that ran at the same time, those of gates that died left out."""
        moments = self.ask(
            "SELECT began_us, 1 FROM span WHERE key_id = ?1 UNION ALL SELECT ended_us, -1 FROM span WHERE key_id = ?1"
            " ORDER BY 1, 2",
            key_id,
        )
        return max(accumulate(step for _, step in moments), default=0)

    def doubled(self):
        """Events that are in the lake twice, and requests with two events."""
        same = "SELECT count(*) FROM (SELECT 1 FROM lake WHERE {0} GROUP BY {1} HAVING count(*) > 1)"
        return (
            self.one(same.format("1", "event_id")),
            self.one(same.format("request != ''", "request")) + self.one(same.format("agent LIKE 'load%'", "agent")),
        )

    def lost(self):
        """Events in a journal and not in the lake, and the other way round."""
        return (
            self.one("SELECT count(*) FROM (SELECT event_id FROM journal EXCEPT SELECT event_id FROM lake)"),
            self.one(
                "SELECT count(*) FROM (SELECT event_id FROM lake WHERE agent LIKE 'load%'"
                " EXCEPT SELECT event_id FROM journal)"
            ),
        )

    def seen_whole(self):
        """How many answers clients saw to their end, and those of them without exactly one event."""
        told = f"decision IN ('admitted', 'refused') AND reason NOT IN {UNRECORDED}"
        return (
            self.one(f"SELECT count(*) FROM met WHERE {told}"),
            self.ask(
                f"SELECT agent, kind, decision, status, reason FROM met WHERE {told}"
                " AND (SELECT count(*) FROM lake WHERE lake.agent = met.agent) != 1"
            ),
        )

    def money(self):
        """The sums over all keys, in nano-dollars, and in how many keys' books there is anything unexplained.

        Each request's cost is what the provider billed for it, rounded up; what a provider's bill and the books of a
        key have apart is what stands in its open holds.
        """
        exact = "SELECT sum(cost) FROM lake e WHERE e.key_id = h.key_id AND hold IS NOT NULL AND NOT estimated"
        billed = (
            f"SELECT sum((units + {UNITS_PER_NUSD - 1}) / {UNITS_PER_NUSD}) FROM provider p"
            " WHERE p.credential = h.credential"
        )
        known = "EXISTS (SELECT 1 FROM lake e WHERE e.request = p.request AND NOT e.estimated)"
        rows = self.ask(
            f"""SELECT coalesce((SELECT sum(settled) FROM book WHERE scope = 'key:' || h.key_id AND kind = 'usd'), 0),
            coalesce(({exact}), 0), coalesce(({billed}), 0), coalesce(({billed} AND {known}), 0),
            coalesce((SELECT sum(nusd) FROM hold WHERE hold.key_id = h.key_id), 0),
            (SELECT count(*) FROM hold WHERE hold.key_id = h.key_id),
            (SELECT count(*) FROM provider p WHERE p.credential = h.credential AND units > 0 AND NOT {known})
            FROM holder h"""
        )
        names = ("settled", "events", "billed", "billed in events", "held open", "open holds", "billed in open holds")
        sums = dict(zip(names, map(sum, zip(*rows, strict=True)), strict=True))
        sums["unexplained"] = sum(abs(row[0] - row[1] - row[4]) for row in rows)
        sums["events and bill apart"] = sum(abs(row[1] - row[3]) for row in rows)
        sums["beyond open holds"] = sum(max(0, row[6] - row[5]) for row in rows)
        sums["org"] = self.one("SELECT sum(settled) FROM book WHERE scope = 'org' AND kind = 'usd'")
        return sums

    # -- figures ------------------------------------------------------------------------------------------------

    def latencies(self, since_us, until_us):
        """Milliseconds of the steady requests in a time: their number, p50, p99 whole; p50, p99 to the first byte."""
        found = []
        for kind, end in (("steady", "ended_us"), ("steady stream", "first_us")):
            times = [
                row[0] / 1000
                for row in self.ask(
                    f"SELECT {end} - started_us AS took FROM met WHERE kind = ? AND decision = 'admitted'"
                    " AND status = 200 AND started_us >= ? AND started_us < ? ORDER BY took",
                    kind,
                    since_us,
                    until_us,
                )
            ]
            quantile = lambda share, times=times: times[int(share * len(times))] if times else 0.0  # noqa: E731
            found += [len(times), round(quantile(0.5), 1), round(quantile(0.99), 1)]
        return found

    def counted(self, column, where="1"):
        return dict(self.ask(f"SELECT {column}, count(*) FROM met WHERE {where} GROUP BY 1 ORDER BY 2 DESC"))
