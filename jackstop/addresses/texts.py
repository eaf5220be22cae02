"""Reads ranges of addresses out of lines of text and out of the files in which clouds publish theirs."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from jackstop.addresses.lookup import Kind, number_of
from jackstop.clock import from_datetime

_BITS = {4: 32, 6: 128}
_MAPPED_FIRST, _MAPPED_LAST = 0xFFFF << 32, (0xFFFF << 32) + 0xFFFFFFFF
_COUNTRY = re.compile(r"[A-Z]{2}")
_ASN = re.compile(r"(?:AS)?(\d{1,10})", re.IGNORECASE)
_CLOUD = re.compile(r"[a-z][a-z0-9_-]{1,31}")
_CONTINENTS = frozenset({"AF", "AN", "AS", "EU", "NA", "OC", "SA"})
_NOBODY = frozenset({"", "-", "ZZ", "None", "none"})
_FIRST_NAMES = frozenset({"network", "cidr", "prefix", "start", "start_ip", "ip_from", "first", "range_start"})
_LAST_NAMES = frozenset({"end", "end_ip", "ip_to", "last", "range_end"})
_COUNTRY_NAMES = ("country_iso_code", "country_code", "country")
_ASN_NAMES = ("autonomous_system_number", "asn", "as_number")
_ORG_NAMES = ("autonomous_system_organization", "as_name", "as_org", "organization", "org", "name")


class Found(NamedTuple):
    """One range and what is said of it: a country, `NUMBER ORGANISATION`, the name of a cloud, or the kind itself."""

    version: int
    first: int
    last: int
    value: str


class Bad(NamedTuple):
    """Something that is no range: where, and what is wrong with it."""

    place: str
    problem: str


class Silent(Exception):
    """A range of which the file says that nobody knows anything."""


def range_of(first: str, last: str = "") -> tuple[int, int, int]:
    """A range as (4 or 6, first, last) from `10.0.0.0/8`, `10.0.0.1`, `10.0.0.1-10.0.0.9`, or two addresses.

    Addresses may be decimal numbers where there are two. Raises ValueError that says what is wrong.
    """
    dash = ""
    if not last:
        first, dash, last = (part.strip() for part in first.partition("-"))
    if dash or last:
        (version, low), (other, high) = _number(first), _number(last)
        if version != other or low > high:
            raise ValueError("the range ends before it begins")
        return _unmapped(version, low, high)
    text, slash, bits = first.partition("/")
    parsed = _number_with_family(text)
    if parsed is None:
        raise ValueError("no address")
    version, number = parsed
    size = _BITS[version]
    if slash and not (bits.isascii() and bits.isdigit() and int(bits) <= size):
        raise ValueError("no length of a prefix")
    rest = (1 << size - int(bits)) - 1 if slash else 0
    return _unmapped(version, number & ~rest, number | rest)


def _number_with_family(text: str) -> tuple[int, int] | None:
    """As `number_of`, but what is written as IPv6 stays it: its prefix counts 128 bits."""
    parsed = number_of(text)
    if parsed is not None and parsed[0] == 4 and ":" in text:
        return 6, _MAPPED_FIRST | parsed[1]
    return parsed


def _number(text: str) -> tuple[int, int]:
    if text.isascii() and text.isdigit() and len(text) < 40:
        number = int(text)
        if number < 1 << 32:
            return 4, number
        if number < 1 << 128:
            return 6, number
    parsed = _number_with_family(text)
    if parsed is None:
        raise ValueError("no address")
    return parsed


def _unmapped(version: int, first: int, last: int) -> tuple[int, int, int]:
    if version == 6 and first >= _MAPPED_FIRST and last <= _MAPPED_LAST:
        return 4, first - _MAPPED_FIRST, last - _MAPPED_FIRST
    return version, first, last


# -- lines ------------------------------------------------------------------------------------------------------------


def read_list(lines: Iterable[str], value: str) -> Iterator[Found | Bad]:
    """One address, network or range per line; also the Tor project's list of exits with their `ExitAddress` lines."""
    for number, line in enumerate(lines, 1):
        text = re.split(r"[#;]", line, maxsplit=1)[0].strip()
        if not text or text.startswith(("ExitNode ", "Published ", "LastStatus ")):
            continue
        words = text.removeprefix("ExitAddress ").split()
        try:
            yield Found(*range_of(words[0]), value)
        except ValueError as error:
            yield Bad(f"line {number}", str(error))


class _Layout(NamedTuple):
    """Where a table's columns are. `last` is None where one cell holds the whole range, -1 where the line decides."""

    first: int = 0
    last: int | None = -1
    values: tuple[int, ...] = ()


def read_table(lines: Iterable[str], kind: Kind, name: str) -> Iterator[Found | Bad]:
    """Lines `network,value…` or `first,last,value…`, with commas, semicolons or tabs, with or without a headline."""
    delimiter, layout, value_of = "", _Layout(), _values(kind, name)
    for number, line in enumerate(lines, 1):
        text = line.strip("\r\n\ufeff ")
        if not text or text.startswith("#"):
            continue
        is_first, delimiter = not delimiter, delimiter or _delimiter(text)
        try:
            cells = _cells(text, delimiter)
            if is_first and cells[0].lower() in _FIRST_NAMES:
                layout = _layout(cells, kind)
                continue
            first, last, rest = _taken_apart(cells, layout)
            yield Found(*range_of(first, last), value_of(rest))
        except Silent:
            continue
        except (ValueError, IndexError, csv.Error) as error:
            yield Bad(f"line {number}", "too few columns" if isinstance(error, IndexError) else str(error))


def _cells(text: str, delimiter: str) -> list[str]:
    if '"' not in text:
        return [cell.strip() for cell in text.split(delimiter)]
    return [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter))]


def _delimiter(text: str) -> str:
    return next((mark for mark in ("\t", ",", ";") if mark in text), ",")


def _layout(cells: list[str], kind: Kind) -> _Layout:
    names = [cell.lower() for cell in cells]
    last = next((place for place, name in enumerate(names) if name in _LAST_NAMES), None)
    wanted = {"country": (_COUNTRY_NAMES,), "asn": (_ASN_NAMES, _ORG_NAMES)}.get(kind, ())
    values = [next((names.index(name) for name in choices if name in names), None) for choices in wanted]
    return _Layout(0, last, tuple(place for place in values if place is not None))


def _taken_apart(cells: list[str], layout: _Layout) -> tuple[str, str, list[str]]:
    first, last = cells[layout.first], ""
    behind = layout.first + 1
    if layout.last == -1:
        if "/" not in first and "-" not in first:
            last, behind = cells[behind], behind + 1
    elif layout.last is not None:
        last, behind = cells[layout.last], layout.last + 1
    return first, last, [cells[place] for place in layout.values] if layout.values else cells[behind:]


def _values(kind: Kind, name: str) -> Callable[[list[str]], str]:
    if kind == "country":
        return _country
    if kind == "asn":
        return _operator
    if kind == "cloud" and not name:
        return _cloud
    return lambda _: name or kind


def _country(cells: list[str]) -> str:
    if len(cells) > 1 and cells[0] in _CONTINENTS and _COUNTRY.fullmatch(cells[1]):
        return cells[1]
    for cell in cells:
        if _COUNTRY.fullmatch(cell) and cell not in _NOBODY:
            return cell
    if any(cell in _NOBODY for cell in cells):
        raise Silent
    raise ValueError("no country of two letters")


def _operator(cells: list[str]) -> str:
    match = _ASN.fullmatch(cells[0])
    if match is None:
        if cells[0] in _NOBODY:
            raise Silent
        raise ValueError("no number of an autonomous system")
    if int(match[1]) == 0:
        raise Silent
    return operator(int(match[1]), cells[-1] if len(cells) > 1 else "")


def operator(asn: int, as_org: str) -> str:
    """The value of a range of kind `asn`."""
    return f"{asn} {as_org}".rstrip()


def _cloud(cells: list[str]) -> str:
    if not _CLOUD.fullmatch(cells[0]):
        raise ValueError("no name of a cloud; say whose the ranges are with --name")
    return cells[0]


# -- what clouds publish ----------------------------------------------------------------------------------------------


class Published(NamedTuple):
    """A cloud's own file: whose it is ("" where it does not say), of when, and the networks with their places."""

    cloud: str
    as_of_us: int | None
    networks: list[tuple[str, str]]


def published(document: Any) -> Published | None:
    """The networks of a cloud's own file, None for a document of another shape."""
    if isinstance(document, list):
        return Published("", None, [(f"item {place}", str(each)) for place, each in enumerate(document, 1)])
    if not isinstance(document, dict):
        return None
    try:
        return _azure(document) or _oracle(document) or _cloudflare(document) or _amazon_or_google(document)
    except (KeyError, TypeError, AttributeError):
        return None


def _azure(document: dict[str, Any]) -> Published | None:
    if "values" not in document:
        return None
    networks = [
        (f"{tag['name']}, prefix {place}", str(each))
        for tag in document["values"]
        for place, each in enumerate(tag["properties"]["addressPrefixes"], 1)
    ]
    return Published("azure", None, networks)


def _oracle(document: dict[str, Any]) -> Published | None:
    if "regions" not in document:
        return None
    networks = [
        (f"{region['region']}, item {place}", str(each["cidr"]))
        for region in document["regions"]
        for place, each in enumerate(region["cidrs"], 1)
    ]
    return Published("oracle", moment_us(document.get("last_updated_timestamp")), networks)


def _cloudflare(document: dict[str, Any]) -> Published | None:
    if "result" not in document:
        return None
    result = document["result"]
    both = [*result.get("ipv4_cidrs", []), *result.get("ipv6_cidrs", [])]
    return Published("cloudflare", None, [(f"item {place}", str(each)) for place, each in enumerate(both, 1)])


def _amazon_or_google(document: dict[str, Any]) -> Published | None:
    if "prefixes" not in document:
        return None
    both = [*document["prefixes"], *document.get("ipv6_prefixes", [])]
    names = ("ip_prefix", "ipv6_prefix", "ipv4Prefix", "ipv6Prefix")
    networks = [
        (f"prefix {place}", next((str(each[name]) for name in names if name in each), ""))
        for place, each in enumerate(both, 1)
    ]
    is_amazon = "createDate" in document
    as_of_us = moment_us(document.get("createDate") or document.get("creationTime"))
    is_google = "creationTime" in document
    return Published("aws" if is_amazon else "gcp" if is_google else "", as_of_us, networks)


def moment_us(text: object) -> int | None:
    """A time as AWS, Google and Oracle write it, taken as UTC where it does not say; None for anything else."""
    for pattern in ("%Y-%m-%d-%H-%M-%S", "%Y-%m-%dT%H:%M:%S.%f"):
        try:
            return from_datetime(datetime.strptime(str(text).removesuffix("Z"), pattern).replace(tzinfo=UTC))
        except ValueError:
            continue
    return None


def read_published(networks: Iterable[tuple[str, str]], value: str) -> Iterator[Found | Bad]:
    """The ranges of a cloud's networks."""
    for place, text in networks:
        try:
            yield Found(*range_of(text), value)
        except ValueError as error:
            yield Bad(place, str(error))
