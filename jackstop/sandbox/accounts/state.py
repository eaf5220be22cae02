"""What the practice providers' administration knows: settings, keys and their owners, limits, tokens, audit entries."""

from __future__ import annotations

from typing import Any

import msgspec

from jackstop.clock import Clock
from jackstop.sandbox.accounts.audit import AuditLog
from jackstop.sandbox.accounts.keys import Key, KeyRing, check_scopes, refuse_secret
from jackstop.sandbox.accounts.spend import Spend
from jackstop.sandbox.bill import Bill
from jackstop.sandbox.errors import ProviderError

_LIMIT = 10_000_000


class Settings(msgspec.Struct, frozen=True):
    """How the administration behaves. Each is an integer; `POST /_sandbox/mode` sets them until the next reset."""

    key_delay_ms: int = 0  # a key that was just made answers only after this long
    key_linger_ms: int = 300  # a key that was disabled, deleted or has expired answers this much longer
    service_account_key_delete: int = 1  # 0: OpenAI answers 400 to deleting a service account's key, as it used to
    publish_after_s: int = 60  # a bucket of usage shows this long after its minute has ended
    revise: int = 0  # a bucket shows half at first, and all of it this many seconds later
    enforce_limits: int = 1  # 0: a spend limit that is exceeded refuses nothing
    spend_limit_writes: int = 1  # 0: Anthropic answers that spend limits cannot be written
    operation_ms: int = 50  # Google's operations are done after this long
    audit: int = 1  # 0: the organisation has not switched its audit log on


class ServiceAccount(msgspec.Struct, frozen=True):
    """One that owns keys at OpenAI or Google."""

    provider: str
    project: str
    id: str
    name: str
    created_us: int
    role: str = "member"


class Accounts:
    """The state of every practice organisation, and the check that each request's secret goes through."""

    def __init__(self, clock: Clock, bill: Bill) -> None:
        self.clock = clock
        self.bill = bill
        self.clear()

    def clear(self) -> None:
        """Forget everything but the bill."""
        self.settings = Settings()
        self.changed: dict[str, int] = {}
        self.keys = KeyRing()
        self.service_accounts: dict[tuple[str, str, str], ServiceAccount] = {}
        self.spend = Spend(self.bill, self.keys)
        self.audit = AuditLog()
        self.tokens: dict[str, int] = {}
        self.closed: set[str] = set()
        self.operations: dict[str, tuple[int, dict[str, Any]]] = {}

    @property
    def now_us(self) -> int:
        return self.clock.now_us()

    def set(self, fields: dict[str, Any]) -> None:
        """Change settings. Raises ProviderError when a value is no integer in bounds."""
        for name, value in fields.items():
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LIMIT:
                raise ProviderError(400, f"sandbox: {name} wants an integer from 0 to {_LIMIT}")
        self.changed |= fields
        self.settings = msgspec.structs.replace(self.settings, **fields)

    def admit(self, provider: str, secret_fingerprint: str, endpoint: str) -> Key | None:
        """The key behind a secret, None for one never heard of, which is let through except at an Azure account.

        Raises ProviderError when the key has ended, lacks the permission, or its spend limit is used up.
        """
        key = self.keys.known(provider, secret_fingerprint)
        if provider in self.closed:
            raise ProviderError(
                403, "Key based authentication is disabled for this resource.", code="AuthenticationTypeDisabled"
            )
        if key is None:
            if provider.startswith("azure/"):
                raise refuse_secret(provider)
            return None
        now_us = self.now_us
        too_new = now_us < key.created_us + self.settings.key_delay_ms * 1_000
        if too_new or not key.answers(now_us, self.settings.key_linger_ms * 1_000):
            raise refuse_secret(provider)
        check_scopes(key, endpoint)
        if self.settings.enforce_limits:
            self.spend.check(key, now_us)
        key.last_used_us = now_us
        return key


SETTINGS = frozenset(Settings.__struct_fields__)
