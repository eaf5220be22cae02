"""What control hands to whoever reconciles, and what it gets back: values that cross its socket."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Literal

import msgspec

from jackstop.clock import US_PER_S
from jackstop.providers.drivers.driver import Bucket

Kind = Literal["usage", "costs", "balance", "requests"]

DAY_US = 86_400 * US_PER_S
MINUTE_US = 60 * US_PER_S

_FINER_THAN_REPORTS = frozenset({"key", "service_account", "user", "trail", "invocation_log", "trail_account"})


class Reading(msgspec.Struct, frozen=True):
    """A provider's report that is due; it comes over a socket that only this user can open.

    `places` are what to ask for, each as its text (`place_text`). A `balance` is read with a credential's own secret;
    `cursor` is then what it was, in nano-dollars.
    """

    administration: str
    kind: Kind
    driver: str
    base_url: str
    options: dict[str, str]
    places: list[str]
    since_us: int
    until_us: int
    secret: str
    ca: str = ""
    read_us: int | None = None
    cursor: str = ""

    def __repr__(self) -> str:
        return f"Reading({self.administration!r}, {self.kind!r})"


class Watched(msgspec.Struct, frozen=True):
    """A credential that is reconciled.

    `keys` are all ids that its keys ever had at the provider, `key` the present one. `since_us` is when Jackstop got
    it, `key_since_us` when it got the present key, if somebody else had that before; `surplus_us` is where its present
    surplus was seen first, None without one. `delay_s` is how late its provider reports, `lag_s` how much later than
    its request a charge may be dated.

    `former` are the credentials of the same place that were retired: what they caused may be reported still.

    `log` is where the provider's log of single requests is kept, empty where it is read nowhere. There `user` is the
    credential's own, `service` what its requests are logged under, and `log_names_keys` is whether a key is named;
    `alone_us` is since when the present key is the only one that works, None while another may.
    """

    name: str
    provider: str
    exclusive: bool
    key: str
    keys: list[str]
    administration: str
    driver: str
    kind: Kind
    place: str
    since_us: int
    delay_s: int
    lag_s: int = 0
    surplus_us: int | None = None
    key_since_us: int | None = None
    log: str = ""
    user: str = ""
    service: str = ""
    log_names_keys: bool = False
    alone_us: int | None = None
    former: list[str] = []


class Stored(msgspec.Struct, frozen=True):
    """A bucket as it is kept: what the provider said last, of which place, and when."""

    kind: Kind
    place: str
    bucket: Bucket
    seen_us: int = 0

    @property
    def name(self) -> tuple[Any, ...]:
        """What a later report of the same has in common with it."""
        each = self.bucket
        return self.kind, self.place, each.start_us, each.width_us, each.provider_key_id, each.model, each.tier


class Hold(msgspec.Struct, frozen=True):
    """Money held for a request whose cost nobody reported, or of a journal's lost end, where nothing else is known."""

    id: str
    ts_us: int
    credential: str
    model: str
    nusd: int
    state: Literal["under way", "open", "tail"]


def place_text(place: Mapping[str, str]) -> str:
    """The part of a credential's place that reports can be asked for, as text."""
    return json.dumps({name: place[name] for name in sorted(place) if name not in _FINER_THAN_REPORTS})


def log_text(place: Mapping[str, str], names: Collection[str]) -> str:
    """The part of a credential's place that says where its provider's log is, as text; empty where nothing does."""
    found = {name: place[name] for name in sorted(names) if place.get(name)}
    return json.dumps(found) if found.keys() - {"region", "trail_account"} else ""


def place_of(text: str) -> dict[str, str]:
    """The place that `place_text` wrote."""
    found: dict[str, str] = json.loads(text)
    return found
