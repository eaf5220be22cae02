"""Reads ranges of addresses out of databases in the MMDB format: GeoLite2, DB-IP and their like."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import maxminddb
from maxminddb.const import MODE_FD

from jackstop.addresses.lookup import Kind
from jackstop.addresses.texts import Found, operator
from jackstop.clock import US_PER_S
from jackstop.errors import UserError

MARKER = b"\xab\xcd\xefMaxMind.com"
"""Stands before the metadata, near the end of every such file."""

Value = Callable[[dict[str, Any]], str]

_DAMAGED = (maxminddb.InvalidDatabaseError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError)
"""What the library raises for bytes that are not what they should be."""


class Database:
    """An open database, built at `as_of_us`. Raises UserError for bytes that are none."""

    def __init__(self, content: bytes, name: str) -> None:
        self._name = name
        try:
            self._reader = maxminddb.open_database(io.BytesIO(content), MODE_FD)
            self.as_of_us = int(self._reader.metadata().build_epoch) * US_PER_S
        except _DAMAGED:
            raise UserError(f"{name} is no whole MMDB file", "fetch it again") from None

    def read(self, kind: Kind, value: str) -> Iterator[Found]:
        """Its ranges that say something of this kind; `value` is what those of a plain kind of network get.

        Raises UserError where the search tree is damaged: what follows cannot be found, and may be most of it.
        """
        value_of = _VALUES.get(kind) or (lambda record: value if _is(record, kind) else "")
        try:
            for network, record in self._reader:
                said = value_of(record) if isinstance(record, dict) else ""
                if said:
                    first, last = int(network.network_address), int(network.broadcast_address)
                    yield Found(network.version, first, last, said)
        except _DAMAGED:
            raise UserError(f"{self._name} is a damaged MMDB file", "fetch it again; nothing was imported") from None


def _country(record: dict[str, Any]) -> str:
    for name in ("country", "registered_country"):
        country = record.get(name)
        code = country.get("iso_code") if isinstance(country, dict) else country
        if isinstance(code, str) and len(code) == 2:
            return code
    code = record.get("country_code")
    return code if isinstance(code, str) and len(code) == 2 else ""


def _operator(record: dict[str, Any]) -> str:
    number = record.get("autonomous_system_number", record.get("asn"))
    digits = str(number).upper().removeprefix("AS")
    if not (digits.isascii() and digits.isdigit() and int(digits)):
        return ""
    return operator(int(digits), str(record.get("autonomous_system_organization", record.get("as_name", ""))))


_VALUES: dict[Kind, Value] = {"country": _country, "asn": _operator}
_FLAGS: dict[str, tuple[str, ...]] = {
    "tor": ("is_tor_exit_node",),
    "vpn": ("is_anonymous_vpn", "is_public_proxy", "is_residential_proxy"),
    "hosting": ("is_hosting_provider",),
}


def _is(record: dict[str, Any], kind: Kind) -> bool:
    """Whether a record of an anonymiser or connection-type database says that a network is of this kind."""
    if kind == "mobile":
        return record.get("connection_type") == "Cellular"
    return any(record.get(flag) is True for flag in _FLAGS.get(kind, ()))
