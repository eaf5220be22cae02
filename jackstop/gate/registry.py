"""What a gate knows of keys, credentials and limits: the rows that control sent, ready for the request path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jackstop.clock import US_PER_S, Clock
from jackstop.keys import format as key_format
from jackstop.keys.policy import CredentialRow, GapRow, KeyRow, LimitRow, Row
from jackstop.ledger.books import Books
from jackstop.ledger.slices import Limit, Path, Rate, limit_of
from jackstop.settings import Settings

_PAUSE_US = 2 * US_PER_S
"""A process that was stopped this long may have missed a revocation: it waits for control's word."""

OnStop = Callable[[str | None, str | None], None]


class KeyEntry:
    """A key with what the gate made of it: `rules` is its compiled policy, kept here by admission."""

    __slots__ = ("paths", "row", "rules", "throttle")

    def __init__(self, row: KeyRow) -> None:
        self.row = row
        self.rules: Any = None
        self.paths: dict[str, Path] = {}
        self.throttle: Rate | None = None

    @property
    def canary(self) -> bool:
        return self.row.canary


class Registry:
    """Rows by their lookups. Applied in the order of control's numbers; read on the request path."""

    def __init__(self, books: Books, settings: Settings, clock: Clock) -> None:
        self._books = books
        self._settings = settings
        self._clock = clock
        self._by_digest: dict[bytes, tuple[str, int | None]] = {}
        self._keys: dict[str, KeyEntry] = {}
        self._credentials: dict[str, CredentialRow] = {}
        self._limits: dict[str, dict[int, Limit]] = {}
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
        """The key's entry, None for one that is unknown or malformed; both take the same way through here."""
        found = self._by_digest.get(key_format.digest(self._pepper, presented))
        if found is None:
            return None
        key_id, until_us = found
        if until_us is not None and now_us >= until_us:
            return None
        return self._keys.get(key_id)

    def credentials_for(self, provider: str, entry: KeyEntry) -> CredentialRow | None:
        """The credential that this key uses at this provider: its own, or the provider's first active one."""
        wanted = entry.row.policy.credential
        if wanted is not None:
            row = self._credentials.get(wanted)
            return row if row is not None and row.provider == provider and row.state == "active" else None
        for row in self._credentials.values():
            if row.provider == provider and row.state == "active":
                return row
        return None

    def path(self, entry: KeyEntry, credential: CredentialRow) -> Path:
        """Every limit between the organisation and this credential."""
        path = entry.paths.get(credential.name)
        if path is None:
            row = entry.row
            limits: list[Limit] = []
            scopes = ("org", f"team:{row.team}", f"owner:{row.owner}", f"key:{row.id}", f"credential:{credential.name}")
            for scope in scopes:
                limits += self._limits.get(scope, {}).values()
            if row.throttle_per_min is not None:
                limits.append(self._throttle(entry, row.throttle_per_min))
            path = entry.paths[credential.name] = Path(limits)
        return path

    def _throttle(self, entry: KeyEntry, per_min: int) -> Rate:
        """A throttled key's own bucket: a fixed share for each process, so that no one need be asked."""
        if entry.throttle is None:
            share = max(1, per_min // self._processes)
            entry.throttle = Rate(LimitRow(0, f"key:{entry.row.id}", "rate", per_min))
            entry.throttle.grow(share, entry.throttle.price, self._clock.now_us())
            entry.throttle.exhausted_us = 1 << 62
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
        self._ticked_us = said_us

    def tick(self, now_us: int) -> None:
        """The loop runs. Only after a pause does this keep quiet until control is heard again."""
        if now_us - self._ticked_us < _PAUSE_US:
            self._ticked_us = now_us

    def _apply_key(self, row: KeyRow) -> None:
        old = self._keys.get(row.id)
        if old is not None:
            self._by_digest.pop(old.row.digest, None)
            for digest, _ in old.row.retiring:
                self._by_digest.pop(digest, None)
        self._by_digest[row.digest] = (row.id, None)
        for digest, until_us in row.retiring:
            self._by_digest[digest] = (row.id, until_us)
        self._keys[row.id] = KeyEntry(row)
        if row.state != "live":
            for stop in self._stoppers:
                stop(row.id, None)

    def _apply_credential(self, row: CredentialRow) -> None:
        self._credentials[row.name] = row
        if row.state == "contained":
            for stop in self._stoppers:
                stop(None, row.name)

    def _apply_limit(self, row: LimitRow) -> None:
        known = self._limits.setdefault(row.scope, {})
        limit = known.get(row.id)
        if row.deleted:
            known.pop(row.id, None)
            self._books.retire(row.id)
        elif limit is None:
            known[row.id] = limit = limit_of(row)
            self._books.adopt(row.id, limit)
        else:
            limit.row = row
        self._forget_paths(row.scope)

    def _forget_paths(self, scope: str) -> None:
        if scope.startswith("key:"):
            entry = self._keys.get(scope.removeprefix("key:"))
            if entry is not None:
                entry.paths.clear()
            return
        for entry in self._keys.values():
            entry.paths.clear()

    def _apply_gap(self, row: GapRow) -> None:
        gap = (row.provider, row.model, row.feature)
        self._gaps.discard(gap) if row.mended else self._gaps.add(gap)
