"""What a driver is: the verbs that a provider really has for its keys, its usage, its limits and its audit log.

A driver only calls the provider. What is done when, and what is written down before, is `jackstop.rotation`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from jackstop.secret import Secret

Kind = Literal["overlap", "two_slot", "assisted"]
"""`overlap`: a new key is made beside the old one. `two_slot`: there are two keys, and either can be made anew.
`assisted`: no API makes keys, so that a person or a deposited standby has to bring one."""

Verb = Literal["list", "create", "disable", "enable", "delete"]
Verdict = Literal["works", "refused", "unsure"]
Why = Literal["denied", "missing", "invalid", "quota", "limited", "unreachable", "failed"]


class CallFailed(Exception):
    """A call to a provider's administration API did not do what it was for.

    `why` is `denied` (the administration's own key may not), `missing`, `invalid`, `quota` (no room for another key),
    `limited` (come back in `after_s` seconds), `unreachable` or `failed` (the provider's own trouble). `problem` never
    quotes what was sent or answered beyond an error code.
    """

    def __init__(self, why: Why, problem: str, *, after_s: int = 0) -> None:
        super().__init__(problem)
        self.why = why
        self.problem = problem
        self.after_s = after_s


class Administration(NamedTuple):
    """A provider's administration API, with Jackstop's own key for it. `ca` is a file of authorities, for tests."""

    driver: str
    base_url: str
    options: Mapping[str, str]
    secret: Secret
    ca: str = ""


class Option(NamedTuple):
    """One thing that a driver has to be told, of the administration or of a credential's place in it."""

    name: str
    meaning: str
    required: bool = True


class ProviderKey(msgspec.Struct, frozen=True):
    """A key as the provider lists it, never with its secret. Times are UTC microseconds, None where nobody says."""

    id: str
    name: str = ""
    state: Literal["active", "disabled"] = "active"
    created_us: int | None = None
    last_used_us: int | None = None
    expires_us: int | None = None


class Created(NamedTuple):
    """A key that was just made. Its secret is given this once."""

    id: str
    secret: Secret
    expires_us: int | None = None


class Driver(Protocol):
    """One provider's keys. Each call is documented where `sources` says, by verb.

    `place` says where a credential's keys live there (a project, a user, a resource). `last_used` is whether `list`
    tells when a key was used last; `most_keys` how many there may be in one place, 0 for no such bound.
    """

    name: str
    kind: Kind
    verbs: frozenset[Verb]
    base_url: str
    options: Sequence[Option]
    places: Sequence[Option]
    last_used: bool
    most_keys: int
    expires: bool
    permission: str
    sources: Mapping[str, str]

    def list(self, admin: Administration, place: Mapping[str, str]) -> list[ProviderKey]:
        """The keys of the place. Raises CallFailed, as every call here does."""
        ...

    def create(
        self, admin: Administration, place: Mapping[str, str], name: str, *, beside: str, expires_s: int | None
    ) -> Created:
        """Make a key called `name` beside the one whose id is `beside`; of two slots the other one is made anew."""
        ...

    def disable(self, admin: Administration, place: Mapping[str, str], key_id: str) -> None:
        """Make a key useless until `enable`. One that is so, or gone, is left so."""
        ...

    def enable(self, admin: Administration, place: Mapping[str, str], key_id: str) -> None:
        """Undo `disable`."""
        ...

    def delete(self, admin: Administration, place: Mapping[str, str], key_id: str, *, keep: str) -> None:
        """Make a key useless for good, and leave the key `keep` alone. One that is gone is left so."""
        ...

    def verify(self, provider: str, base_url: str, place: Mapping[str, str], secret: Secret, ca: str = "") -> Verdict:
        """Whether a secret works, by the provider's cheapest call. `base_url` and `provider` are the credential's.

        `unsure` where the answer says nothing about the secret (it could not be reached, or has trouble of its own).
        """
        ...


class Bucket(msgspec.Struct, frozen=True):
    """What a provider reports of one key and model for one span of time. `input_tokens` are without the cache's.

    `provider_key_id` and `model` are empty where the provider does not tell them apart. `cost_nusd` is what the
    provider itself charges, None where it reports tokens only.
    """

    start_us: int
    width_us: int
    provider_key_id: str = ""
    model: str = ""
    tier: str = ""
    requests: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    cost_nusd: int | None = None


class UsageSource(Protocol):
    """A driver that reads usage. `usage_poll_s` is how often the vendor lets one ask, `usage_width_us` its finest span.

    `usage_delay_s` is how late buckets are published, as far as anybody knows.
    """

    usage_poll_s: int
    usage_width_us: int
    usage_delay_s: int

    def usage(self, admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> list[Bucket]:
        """The buckets that begin in the span, all pages of them."""
        ...

    def costs(self, admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> list[Bucket]:
        """What the provider charges, by day: buckets with a `cost_nusd` and no tokens. Empty where it does not say."""
        ...


class ProviderLimit(msgspec.Struct, frozen=True):
    """A hard limit that the provider keeps. `amount_nusd` None: there is none."""

    scope: str
    window: str
    amount_nusd: int | None
    enforced: bool = True


class LimitSource(Protocol):
    """A driver that reads and sets the provider's own hard limits."""

    def limits(self, admin: Administration, place: Mapping[str, str]) -> list[ProviderLimit]:
        """The limits that hold for the place."""
        ...

    def set_limit(self, admin: Administration, place: Mapping[str, str], amount_nusd: int) -> ProviderLimit:
        """Set the limit nearest to the place; what it is now. Raises CallFailed where the provider refuses."""
        ...


class AuditPage(NamedTuple):
    """Entries of a provider's audit log as they came, oldest first, and where the next page begins."""

    entries: list[dict[str, Any]]
    cursor: str


class AuditSource(Protocol):
    """A driver that reads the provider's audit log. `audit_format` names the module in `jackstop.events.sources`."""

    audit_format: str
    audit_poll_s: int

    def audit(self, admin: Administration, since_us: int, cursor: str) -> AuditPage:
        """The next entries after `cursor`, or since `since_us` where that is empty."""
        ...


class LoggedRequest(msgspec.Struct, frozen=True):
    """One inference that a provider carried out, as its log has it. Tokens are None where the log does not count them.

    `key` is the id of the key that was used, empty where the log names only the `principal`. `user` is the principal's
    own name, as in a credential's place.
    """

    ts_us: int
    request_id: str
    key: str = ""
    principal: str = ""
    user: str = ""
    service: str = ""
    account: str = ""
    region: str = ""
    model: str = ""
    address: str = ""
    network: str = ""
    agent: str = ""
    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None


class LogPage(NamedTuple):
    """What one reading of a request log brought: of which files, oldest first, each with when it was written by the
    clock of the store that has it, and how many files or records could not be read.
    """

    requests: list[LoggedRequest]
    files: Mapping[str, int]
    unreadable: int = 0


class RequestLog(Protocol):
    """A driver that reads the provider's log of single requests, where the credential's place says that it is kept.

    `requests_poll_s` is how often it is looked at, `requests_delay_s` how late it is, as far as anybody knows;
    `log_places` are the options of a place that say where, one of which is there if there is a log. `log_names_keys`
    is whether it names the key that was used, and not only its user.
    """

    requests_poll_s: int
    requests_delay_s: int
    log_places: Sequence[str]
    log_names_keys: bool

    def requests(
        self,
        admin: Administration,
        place: Mapping[str, str],
        since_us: int,
        until_us: int,
        *,
        written_us: int,
        known: Collection[str],
    ) -> LogPage:
        """The inferences in the log's files of the span, of those written since `written_us` which are not `known`."""
        ...

    def log_service(self, base_url: str) -> str:
        """The `service` of requests that go to this address, empty where nobody can tell."""
        ...
