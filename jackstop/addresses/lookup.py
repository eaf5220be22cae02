"""Says of an address whose it is, and writes it into events: country, network operator, kind of network."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from jackstop.addresses.ranges import About, Ranges, read
from jackstop.errors import UserError
from jackstop.events.schema import Event
from jackstop.settings import Home

Kind = Literal["country", "asn", "tor", "hosting", "vpn", "cloud", "mobile"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NETWORK_KINDS: tuple[Kind, ...] = ("tor", "vpn", "cloud", "hosting", "mobile")
"""What `network_kind` can become, the one that says most first."""
SUFFIX = ".ranges"

_REMEMBERED = 65_536
_OWN = frozenset({"private", "loopback"})
_MAPPED = 0xFFFF

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """What is known of an address; empty where nothing is."""

    country: str = ""
    asn: int | None = None
    as_org: str = ""
    network_kind: str = ""


def number_of(text: str) -> tuple[int, int] | None:
    """An address as (4 or 6, number), None for what is none; IPv4 mapped into IPv6 is IPv4."""
    try:
        if ":" not in text:
            return 4, int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
        number = int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big")
    except (OSError, ValueError):
        return None
    return (4, number & 0xFFFFFFFF) if number >> 32 == _MAPPED else (6, number)


def files(home: Home) -> list[Path]:
    """Everything that was imported, by name."""
    return sorted(home.addresses.glob(f"*{SUFFIX}"))


class Lookup:
    """All imported data in memory. What cannot be read is left out, and stands in `damaged`."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._seen: list[tuple[str, int, int, int]] = []
        self._sources: list[tuple[About, Ranges]] = []
        self.damaged: list[UserError] = []
        self.place: Callable[[str], Place] = self._place
        self._load()

    @classmethod
    def load(cls, home: Home) -> Lookup:
        """Read what was imported; a home without any gives a lookup that knows nothing. Logs what is damaged."""
        lookup = cls(home)
        lookup._log_damaged()
        return lookup

    def _log_damaged(self) -> None:
        for error in self.damaged:
            log.warning("%s; it is left out: %s", error.problem, error.remedy)

    @property
    def loaded(self) -> bool:
        """Whether there is any data."""
        return bool(self._sources)

    @property
    def oldest(self) -> About:
        """The file with the oldest data. Raises IndexError where there is none."""
        return self._sources[-1][0]

    @property
    def columns(self) -> frozenset[str]:
        """The columns of an event that the data can fill."""
        kinds = {about.kind for about, _ in self._sources}
        found = {"country"} & kinds | ({"asn", "as_org"} if "asn" in kinds else set())
        return frozenset(found | ({"network_kind"} if kinds & set(NETWORK_KINDS) else set()))

    def _stamps(self) -> list[tuple[str, int, int, int]]:
        stamps = []
        for path in files(self._home):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            stamps.append((path.name, stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return stamps

    def reload_if_changed(self) -> bool:
        """Read again if something was imported or removed since; whether it was. Cheap when nothing was."""
        if self._stamps() == self._seen:
            return False
        self._load()
        self._log_damaged()
        return True

    def _load(self) -> None:
        self._seen, self.damaged, found = self._stamps(), [], []
        for name, *_ in self._seen:
            try:
                found.append(read(self._home.addresses / name))
            except FileNotFoundError:
                continue
            except UserError as error:
                self.damaged.append(error)
            except OSError as error:
                path = self._home.addresses / name
                self.damaged.append(UserError(f"{path} cannot be read: {error.strerror}", "let its owner read it"))
        # Of two that know an address, the newer data has the word.
        self._sources = sorted(found, key=lambda source: -source[0].as_of_us)
        self.place = lru_cache(_REMEMBERED)(self._place)

    def _place(self, address: str) -> Place:
        """What is known of an address in text."""
        parsed = number_of(address)
        if parsed is None:
            return Place()
        country, operator, kinds = "", "", dict[str, str]()
        for about, ranges in self._sources:
            value = ranges.find(*parsed)
            if value is None:
                continue
            if about.kind == "country":
                country = country or value
            elif about.kind == "asn":
                operator = operator or value
            else:
                kinds.setdefault(about.kind, value)
        asn, _, as_org = operator.partition(" ")
        kind = next((kinds[kind] for kind in NETWORK_KINDS if kind in kinds), "")
        return Place(country, int(asn) if asn else None, as_org, kind)

    def matches(self, address: str) -> list[tuple[About, str]]:
        """Every imported file that knows the address, with what it says of it."""
        parsed = number_of(address)
        if parsed is None:
            return []
        found = ((about, ranges.find(*parsed)) for about, ranges in self._sources)
        return [(about, value) for about, value in found if value is not None]

    def enrich(self, event: Event) -> None:
        """Fill in what the event's source did not say itself. An address of one's own networks stays as it is."""
        if not event.src_ip or not self._sources or event.network_kind in _OWN:
            return
        country, asn, as_org, network_kind = self.place(event.src_ip)
        event.country = event.country or country
        if event.asn is None:
            event.asn = asn
            event.as_org = event.as_org or as_org
        event.network_kind = event.network_kind or network_kind
