"""Address data of the size of a whole country file: to import it, to load it, and to look an address up."""

import ipaddress
import random
import time

from bench.record import Table
from jackstop.addresses.importer import keep, prepare
from jackstop.addresses.lookup import Lookup
from jackstop.settings import Home

RANGES4, RANGES6, LOOKUPS = 1_200_000, 300_000, 200_000
COUNTRIES = ("AU", "BR", "CN", "DE", "FR", "GB", "IN", "US")
FIRST4, END4 = 1 << 24, 224 << 24
BASE6, SIZE6 = 0x2600 << 112, 1 << 84


def lines(chance, ranges4, ranges6):
    """A table `first,last,country`; neighbours often have the same country, as they do."""
    starts = sorted(chance.sample(range(FIRST4, END4), ranges4))
    for first, following in zip(starts, [*starts[1:], END4], strict=True):
        yield f"{ipaddress.IPv4Address(first)},{ipaddress.IPv4Address(following - 1)},{chance.choice(COUNTRIES)}\n"
    for number in range(ranges6):
        first = ipaddress.IPv6Address(BASE6 + number * SIZE6)
        yield f"{first},{first + (SIZE6 - 1)},{COUNTRIES[number % len(COUNTRIES)]}\n"


def timed(act):
    began = time.perf_counter()
    value = act()
    return time.perf_counter() - began, value


def each_us(lookup, addresses):
    """Microseconds for one of these addresses, of which none was asked for before."""
    seconds, _ = timed(lambda: [lookup.place(address) for address in addresses])
    return seconds * 1e6 / len(addresses)


def measure(folder, quick):
    part = 20 if quick else 1
    chance, home, path = random.Random(1), Home(folder / "home"), folder / "countries.csv"
    with path.open("w") as file:
        file.writelines(lines(chance, RANGES4 // part, RANGES6 // part))
    reading, prepared = timed(lambda: prepare(path, "country", "", "auto", time.time_ns() // 1_000))
    writing, _ = timed(lambda: keep(home, prepared))
    loading, lookup = timed(lambda: Lookup.load(home))
    of4 = [str(ipaddress.IPv4Address(chance.randrange(FIRST4, END4))) for _ in range(LOOKUPS // part)]
    of6 = [
        str(ipaddress.IPv6Address(BASE6 + chance.randrange(RANGES6 // part * SIZE6))) for _ in range(LOOKUPS // part)
    ]
    new4, new6 = each_us(lookup, of4), each_us(lookup, of6)
    known = of4[:10_000]
    each_us(lookup, known)
    again = each_us(lookup, known * 10)
    size = next(home.addresses.iterdir()).stat().st_size
    rows = [
        ["ranges, after neighbours of one country are joined", prepared.total],
        ["reading the CSV file, s", round(reading, 1)],
        ["writing it to the home folder, s", round(writing, 2)],
        ["its size, MiB", round(size / 2**20, 1)],
        ["loading it, s", round(loading, 3)],
        ["an IPv4 address, seen for the first time, µs", round(new4, 1)],
        ["an IPv6 address, seen for the first time, µs", round(new6, 1)],
        ["one that was asked for before, µs", round(again, 2)],
    ]
    targets = [
        ("loading a million ranges", f"{loading:.3f} s", "< 1 s", loading < 1),
        ("looking up a new address", f"{max(new4, new6):.1f} µs", "< 10 µs", max(new4, new6) < 10),
    ]
    yield Table("One country file", ["what", "figure"], rows, "Ranges of random length, one process.", targets)


SECTIONS = {"addresses": ("address data: import, load, look up", measure)}
