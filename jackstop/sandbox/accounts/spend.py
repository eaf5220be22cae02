"""Spend limits: what a provider lets an organisation, a project or a key spend before it refuses."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from jackstop.clock import from_datetime, to_datetime
from jackstop.sandbox.accounts import mint
from jackstop.sandbox.accounts.keys import Key, KeyRing
from jackstop.sandbox.bill import Bill
from jackstop.sandbox.catalogue import UNITS_PER_NUSD
from jackstop.sandbox.errors import ProviderError

NUSD_PER_USD = 1_000_000_000
NUSD_PER_CENT = NUSD_PER_USD // 100
_LOOKED_UP_US = 1_000_000
SCOPES = {"openai": "project", "anthropic": "workspace"}
DEFAULT_SCOPES = {"openai": "proj_sandbox", "anthropic": "wrkspc_sandbox"}


def window_start(window: str, now_us: int) -> int:
    """When the running `daily`, `weekly` or `monthly` window began in UTC; the beginning of time for any other."""
    day = to_datetime(now_us).replace(hour=0, minute=0, second=0, microsecond=0)
    if window == "daily":
        return from_datetime(day)
    if window == "weekly":
        return from_datetime(day - timedelta(days=day.weekday()))
    return from_datetime(day.replace(day=1)) if window == "monthly" else 0


class Limit(NamedTuple):
    """US cents a month, with the limit's id at its provider and when it was made and last changed."""

    id: str
    cents: int
    made_us: int
    changed_us: int


class Spend:
    """Limits by provider and scope ("" is the organisation), and what counts against them."""

    def __init__(self, bill: Bill, keys: KeyRing) -> None:
        self._bill = bill
        self._keys = keys
        self.limits: dict[tuple[str, str], Limit] = {}
        self._last: dict[tuple[str, ...], tuple[int, int]] = {}

    def of_key(self, key: Key, window: str, now_us: int) -> int:
        """What a key has spent in nano-dollars within the running window."""
        uses = self._bill.uses(window_start(window, now_us), now_us + 1)
        return (
            sum(use.units for use in uses if (use.provider, use.credential) == (key.provider, key.fingerprint))
            // UNITS_PER_NUSD
        )

    def of_scope(self, provider: str, scope: str, now_us: int) -> int:
        """What a project or workspace (or with "" the organisation) has spent this month in nano-dollars.

        Secrets never heard of count to the default one.
        """
        units = 0
        for use in self._bill.uses(window_start("monthly", now_us), now_us + 1):
            if use.provider == provider and scope in ("", self.scope_of(provider, use.credential)):
                units += use.units
        return units // UNITS_PER_NUSD

    def scope_of(self, provider: str, credential: str) -> str:
        """The project or workspace that a secret's use counts to."""
        key = self._keys.known(provider, credential)
        default = DEFAULT_SCOPES.get(provider, "")
        return key.place.get(SCOPES.get(provider, ""), default) if key is not None else default

    def set(self, provider: str, scope: str, cents: int, now_us: int) -> Limit:
        """Limit a scope, or change its limit."""
        known = self.limits.get((provider, scope))
        if known is None:
            known = Limit(mint.ident("spl_"), cents, now_us, now_us)
        self.limits[provider, scope] = known._replace(cents=cents, changed_us=now_us)
        return self.limits[provider, scope]

    def exceeded(self, provider: str, scope: str, now_us: int) -> bool:
        """Whether a limit is used up, as of at most a second ago: enforcement is not instantaneous."""
        limit = self.limits.get((provider, scope))
        if limit is None:
            return False
        looked_us, spent = self._last.get((provider, scope), (0, 0))
        if now_us - looked_us >= _LOOKED_UP_US:
            spent = self.of_scope(provider, scope, now_us)
            self._last[provider, scope] = (now_us, spent)
        return spent >= limit.cents * NUSD_PER_CENT

    def check(self, key: Key, now_us: int) -> None:
        """Raises ProviderError when the key's own limit, its project's or its organisation's is used up."""
        if "limit_usd" in key.details:
            _check_key(self, key, now_us)
        if not self.limits:
            return
        scope = self.scope_of(key.provider, key.fingerprint)
        for name, kind in ((scope, SCOPES.get(key.provider, "")), ("", "organization")):
            if self.exceeded(key.provider, name, now_us):
                raise _refusal(key.provider, kind)


def _check_key(spend: Spend, key: Key, now_us: int) -> None:
    limit = key.details.get("limit_usd")
    if not isinstance(limit, int | float):
        return
    window = str(key.details.get("limit_reset") or "total")
    if spend.of_key(key, window, now_us) >= limit * NUSD_PER_USD:
        raise ProviderError(403, f"Key limit exceeded ({window} limit).")


def _refusal(provider: str, kind: str) -> ProviderError:
    """OpenAI: 429 with these codes (developers.openai.com/api/docs/guides/spend-limits). Anthropic: 400."""
    if provider == "openai":
        code = f"{kind}_spend_limit_exceeded"
        return ProviderError(429, f"Your {kind} has reached its spend limit.", kind="insufficient_quota", code=code)
    return ProviderError(400, f"You have reached your specified {kind} API usage limits.")
