"""Identify: what a gate knows of keys, credentials and limits, from the rows that control sent; no sockets here."""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Callable

from jackstop.clock import US_PER_S, Clock
from jackstop.gate.roster import Roster
from jackstop.gate.rules import Rules
from jackstop.keys import format as key_format
from jackstop.keys.policy import CredentialRow, GapRow, KeyRow, LimitRow, Row
from jackstop.ledger.books import Books
from jackstop.ledger.ramp import Ramp
from jackstop.ledger.slices import Limit, Path, Rate, limit_of
from jackstop.ledger.windows import FOREVER_US
from jackstop.settings import Settings

_PAUSE_US = 2 * US_PER_S
"""A process that was stopped this long may have missed a revocation: it waits for control's word."""
_ROUND_TICKS = 200
"""In so many calls of `tend` every key in use is looked at once."""

OnStop = Callable[[str | None, str | None], None]


class KeyEntry:
    """A key in use, with what the gate made of it: `rules` is its compiled policy, kept here by admission.

    `paths` are by credential, made when the shared limits were at `limits_version`. `own_limits` are the key's own.
    """

    __slots__ = ("limits_version", "own_limits", "paths", "row", "rules", "throttle", "used_us")

    def __init__(self, row: KeyRow) -> None:
        self.row = row
        self.rules: Rules | None = None
        self.paths: dict[str, Path] = {}
        self.limits_version = 0
        self.own_limits: tuple[Limit, ...] = ()
        self.throttle: Rate | None = None
        self.used_us = 0


class Registry:
    """Rows by their lookups. Applied in the order of control's numbers; read on the request path."""

    def __init__(self, books: Books, settings: Settings, clock: Clock) -> None:
        self._books = books
        self._settings = settings
        self._clock = clock
        self._roster = Roster()
        # Keys in use by their digests, and in the order in which `tend` looks at them.
        self._entries: dict[bytes, KeyEntry] = {}
        self._in_use: deque[KeyEntry] = deque()
        self._credentials: dict[str, CredentialRow] = {}
        # Limits that keys share, by scope.
        self._limits: dict[str, dict[int, Limit]] = {}
        self._limits_version = 0
        self._gaps: set[tuple[str, str, str]] = set()
        self._stoppers: list[OnStop] = []
        self._pepper = b""
        self.fingerprint_key = b""
        self._processes = 1
        self.seq = 0
        self._complete = False
        self._heard_us = 0
        self._ticked_us = clock.now_us()

    # -- the request path ---------------------------------------------------------------------------------------

    def identify(self, presented: bytes, now_us: int) -> KeyEntry | None:
        """The key's entry, None for one that is unknown or malformed: how long that takes tells nothing of secrets."""
        digest = key_format.digest(self._pepper, presented)
        entry = self._entries.get(digest) or self._unpack(presented, digest, now_us)
        if entry is not None:
            entry.used_us = now_us
        return entry

    def _unpack(self, presented: bytes, digest: bytes, now_us: int) -> KeyEntry | None:
        """The entry of a key that is not in use, or that was rotated and is presented in its older form."""
        parsed = key_format.parse(presented)
        row = None if parsed is None else self._roster.find(parsed.id).row
        if row is None:
            return None
        if not hmac.compare_digest(digest, row.digest) and not any(
            now_us < until_us and hmac.compare_digest(digest, older) for older, until_us in row.retiring
        ):
            return None
        return self._entries.get(row.digest) or self._enter(KeyEntry(row))

    def _enter(self, entry: KeyEntry) -> KeyEntry:
        self._entries[entry.row.digest] = entry
        self._in_use.append(entry)
        return entry

    def credential_for(self, provider: str, entry: KeyEntry) -> CredentialRow | None:
        """The credential that this key uses at this provider: its own, or the provider's first active one."""
        wanted = entry.row.policy.credential
        if wanted is not None:
            row = self._credentials.get(wanted)
            return row if row is not None and row.provider == provider and row.state == "active" else None
        for row in self._credentials.values():
            if row.provider == provider and row.state == "active":
                return row
        return None

    def present(self, credential: CredentialRow) -> CredentialRow:
        """A credential as it is by now, if it may still be used."""
        row = self._credentials.get(credential.name)
        return row if row is not None and row.state == "active" else credential

    def path(self, entry: KeyEntry, credential: CredentialRow) -> Path:
        """Every limit between the organisation and this credential."""
        if entry.limits_version != self._limits_version:
            entry.limits_version = self._limits_version
            entry.paths.clear()
        path = entry.paths.get(credential.name)
        if path is None:
            path = entry.paths[credential.name] = self._path(entry, credential)
        return path

    def _path(self, entry: KeyEntry, credential: CredentialRow) -> Path:
        row = entry.row
        entry.own_limits = tuple(self._own_limit(limit) for limit in self._roster.find(row.id).limits)
        limits: list[Limit] = []
        for scope in ("org", f"team:{row.team}", f"owner:{row.owner}"):
            limits += self._limits.get(scope, {}).values()
        limits += entry.own_limits
        limits += self._limits.get(f"credential:{credential.name}", {}).values()
        if row.throttle_per_min is not None:
            limits.append(self._throttle(entry, row.throttle_per_min))
        return Path(limits)

    def _own_limit(self, row: LimitRow) -> Limit:
        """A key's own limit, which the books know for as long as the key is in use."""
        limit = self._books.limit(row.id)
        if limit is None:
            limit = limit_of(row)
            self._books.adopt(row.id, limit)
        return limit

    def _throttle(self, entry: KeyEntry, per_min: int) -> Rate:
        """A throttled key's own bucket: a fixed share for each process, so that no one need be asked."""
        if entry.throttle is None:
            share = max(1, per_min // self._processes)
            entry.throttle = Rate(LimitRow(0, f"key:{entry.row.id}", "rate", per_min))
            entry.throttle.grow(share, entry.throttle.price, self._clock.now_us())
            # Control has no more of it to give: it is not to be asked.
            entry.throttle.exhausted_us = FOREVER_US
        return entry.throttle

    def gap(self, provider: str, model: str, feature: str) -> bool:
        """Whether this provider, model and feature once cost more than was held."""
        return bool(self._gaps) and (provider, model, feature) in self._gaps

    def fresh(self, entry: KeyEntry, now_us: int) -> bool:
        """Whether what is known is recent enough to admit this key: fail closed."""
        gate = self._settings.gate
        allowed_s = gate.max_staleness_in_case_s if entry.row.in_case else gate.max_staleness_s
        return (
            self._complete and now_us - self._heard_us <= allowed_s * US_PER_S and now_us - self._ticked_us < _PAUSE_US
        )

    def ready(self) -> bool:
        """Whether the snapshot is whole and fresh."""
        now = self._clock.now_us()
        return self._complete and now - self._heard_us <= self._settings.gate.max_staleness_s * US_PER_S

    def on_stop(self, callback: OnStop) -> None:
        """Call back with (key id, None) or (None, credential) when its running requests have to end."""
        self._stoppers.append(callback)

    # -- control ------------------------------------------------------------------------------------------------

    def welcome(self, pepper: bytes, fingerprint_key: bytes, processes: int) -> None:
        """Control greets: the secrets that keys and texts are hashed with, and how many gates there are."""
        self._pepper = pepper
        self.fingerprint_key = fingerprint_key
        self._processes = max(1, processes)

    def apply(self, rows: list[Row], seq: int, *, more: bool) -> None:
        """Take rows as they are now; `more` says that the snapshot goes on."""
        for row in rows:
            if isinstance(row, KeyRow):
                self._apply_key(row)
            elif isinstance(row, CredentialRow):
                self._apply_credential(row)
            elif isinstance(row, LimitRow):
                self._apply_limit(row)
            else:
                self._apply_gap(row)
        self.seq = max(self.seq, seq)
        if not more:
            self._complete = True

    def heard(self, said_us: int) -> None:
        """Control spoke, at `said_us`, and everything before has been applied."""
        self._heard_us = said_us
        # What comes late, behind much else, does not say that this process stood still.
        self._ticked_us = max(self._ticked_us, said_us)

    def tick(self, now_us: int) -> None:
        """The loop runs. Only after a pause does this keep quiet until control is heard again."""
        if now_us - self._ticked_us < _PAUSE_US:
            self._ticked_us = now_us

    def _apply_key(self, row: KeyRow) -> None:
        before = self._roster.tell_key(row)
        old = None if before is None else self._entries.pop(before.digest, None)
        if old is not None:
            new = self._enter(KeyEntry(row))
            new.own_limits, new.used_us = old.own_limits, old.used_us
        if row.state != "live":
            for stop in self._stoppers:
                stop(row.id, None)

    def _apply_credential(self, row: CredentialRow) -> None:
        self._credentials[row.name] = row
        if row.state == "contained":
            for stop in self._stoppers:
                stop(None, row.name)

    def _apply_limit(self, row: LimitRow) -> None:
        kind, _, name = row.scope.partition(":")
        limit = self._books.limit(row.id)
        if row.deleted:
            self._books.retire(row.id)
        elif limit is not None:
            if isinstance(limit, Ramp) and limit.row.amount != row.amount:
                # Control has reckoned its bucket anew, and shares it out again.
                self._books.retire(row.id)
            limit.row = row
        if kind == "key":
            self._apply_own_limit(name, row)
        else:
            self._apply_shared_limit(row, limit)

    def _apply_own_limit(self, key_id: str, row: LimitRow) -> None:
        key = self._roster.tell_limit(key_id, row)
        entry = None if key is None else self._entries.get(key.digest)
        if entry is not None:
            entry.paths.clear()

    def _apply_shared_limit(self, row: LimitRow, limit: Limit | None) -> None:
        known = self._limits.setdefault(row.scope, {})
        if row.deleted:
            known.pop(row.id, None)
        elif limit is None:
            known[row.id] = limit = limit_of(row)
            self._books.adopt(row.id, limit)
        # Any number of keys pass it: each makes its paths anew when it is next used.
        self._limits_version += 1

    def _apply_gap(self, row: GapRow) -> None:
        gap = (row.provider, row.model, row.feature)
        if row.mended:
            self._gaps.discard(gap)
        else:
            self._gaps.add(gap)

    # -- upkeep -------------------------------------------------------------------------------------------------

    def tend(self, now_us: int) -> None:
        """Look at some of the keys in use, and pack away those that were idle for longer than leases are kept.

        Not while control is away: what a key has of its limits could then not be had again.
        """
        if now_us - self._heard_us > _PAUSE_US:
            return
        idle_since_us = now_us - self._settings.ledger.outage_window_s * US_PER_S
        for _ in range(min(len(self._in_use), len(self._in_use) // _ROUND_TICKS + 1)):
            entry = self._in_use.popleft()
            if self._entries.get(entry.row.digest) is not entry:
                continue
            if entry.used_us < idle_since_us and all(limit.idle for limit in entry.own_limits):
                self._pack(entry)
            else:
                self._in_use.append(entry)

    def _pack(self, entry: KeyEntry) -> None:
        del self._entries[entry.row.digest]
        entry.paths.clear()
        for limit in entry.own_limits:
            self._books.forget(limit.row.id)
