"""`jackstop doctor`: looks for what is wrong, and says how to mend it."""

from __future__ import annotations

import argparse
import ipaddress
import shutil
import socket
import stat
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from jackstop.cli.output import Subparsers, command, print_json
from jackstop.cli.session import Session
from jackstop.clock import SystemClock
from jackstop.errors import UserError
from jackstop.settings import Settings

Result = dict[str, Any]
_FREE_BYTES = 1 << 30
_EARLIEST_US = 1_767_225_600_000_000  # 2026-01-01: no installation is older than the program
_DAY_US = 86_400_000_000
_ENOUGH_CALLS = 20
_RETRY_S = 1.0


def register(commands: Subparsers) -> None:
    """Add the command."""
    parser = command(commands, "doctor", _doctor, "look for what is wrong and say how to mend it")
    parser.add_argument("--accept-clock", action="store_true", help="the time is right as it is: open windows again")


def _doctor(args: argparse.Namespace, session: Session) -> int:
    if args.accept_clock:
        from jackstop.control import client

        client.ask(session.home, "clock accept", {})
    results = list(_examine(session))
    failed = any(result["state"] == "failed" for result in results)
    if args.json:
        print_json({"ok": not failed, "results": results})
    else:
        for result in results:
            print(f"{result['state']:8}{result['check']}: {result['problem'] or result['note'] or 'as it should be'}")
            if result["problem"]:
                print(f"        -> {result['remedy']}")
    return 1 if failed else 0


def _examine(session: Session) -> Iterator[Result]:
    try:
        settings = session.settings
    except UserError as error:
        yield _result("settings", error.problem, error.remedy)
        return
    yield _result("settings", note=str(session.home.config))
    for check in (_home, _disk, _clock, _kek, _tls, _addresses):
        yield check(session, settings)
    live = yield from _control(session)
    if not live:
        yield _port("gate", settings.gate.listen)
        yield _port("console", settings.console)
    yield _source_addresses(session, settings)


def _result(check: str, problem: str = "", remedy: str = "", *, note: str = "", warn: bool = False) -> Result:
    state = ("warning" if warn else "failed") if problem else "ok"
    return {"check": check, "state": state, "problem": problem, "remedy": remedy, "note": note}


def _attempt(check: str, act: Callable[[], str]) -> Result:
    """A check that raises UserError when it fails, and returns its note when it does not."""
    try:
        return _result(check, note=act())
    except UserError as error:
        return _result(check, error.problem, error.remedy)


def _home(session: Session, _settings: Settings) -> Result:
    home = session.home
    if not home.root.is_dir():
        return _result("home", f"{home.root} does not exist", "run `jackstop init`, or set JACKSTOP_HOME")
    for path in (home.root, home.config, home.database, home.kek, home.journal, home.lake, home.run, home.logs):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            return _result("home", f"{path} is open to other users", f"run: chmod go= {path}")
    return _result("home", note=str(home.root))


def _disk(session: Session, _settings: Settings) -> Result:
    if not session.home.root.is_dir():
        return _result("disk", "there is no home to look at", "run `jackstop init`", warn=True)
    free = shutil.disk_usage(session.home.root).free
    if free < _FREE_BYTES:
        return _result(
            "disk", f"{free >> 20} MiB are free; a gate without room for its journal refuses", "free at least 1 GiB"
        )
    return _result("disk", note=f"{free >> 30} GiB free")


def _clock(_session: Session, _settings: Settings) -> Result:
    now_us = SystemClock().now_us()
    if now_us < _EARLIEST_US:
        return _result("clock", "the machine's clock is years behind", "set it, and run an NTP client")
    try:
        kernel = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource").read_text(encoding="ascii")
    except OSError:
        kernel = "unknown"
    return _result("clock", note=f"source {kernel.strip()}")


def _kek(session: Session, settings: Settings) -> Result:
    def act() -> str:
        from jackstop.vault.kek import open_vault

        return f"{settings.vault.backend}, id {open_vault(settings, session.home).current_kek_id}"

    return _attempt("key-encryption key", act)


def _tls(_session: Session, settings: Settings) -> Result:
    def act() -> str:
        from jackstop.gate.listening import check_listen

        check_listen(settings.gate)
        return f"gate.listen is {settings.gate.listen}; a running gate may have another one from `jackstop up --gate`"

    return _attempt("listening", act)


def _addresses(session: Session, _settings: Settings) -> Result:
    """How old the oldest imported address data is, or that there is none, which detections can bear."""
    from jackstop.addresses.importer import OLD_US
    from jackstop.addresses.lookup import Lookup

    lookup, now_us = Lookup(session.home), SystemClock().now_us()
    for error in lookup.damaged:
        return _result("address data", error.problem, error.remedy)
    if not lookup.loaded:
        return _result("address data", note="none: networks are told apart by /24 and /48 alone")
    about = lookup.oldest
    days = (now_us - about.as_of_us) // _DAY_US
    if now_us - about.as_of_us > OLD_US:
        problem, remedy = f"{about.name} is {days} days old", "fetch it anew and import it: jackstop addresses import"
        return _result("address data", problem, remedy, warn=True)
    return _result("address data", note=f"fills {', '.join(sorted(lookup.columns))}; the oldest is {days} days old")


def _port(what: str, address: str) -> Result:
    """With nothing of ours running, the address must be free."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=1):
            pass
    except (OSError, ValueError):
        return _result(f"{what} address", note=f"{address} is free")
    return _result(
        f"{what} address",
        f"another program listens at {address}",
        f"stop it, or give `jackstop up` another address with --{what}",
    )


def _control(session: Session) -> Generator[Result, None, bool]:
    """The checks that control, or this process in its place, makes. Returns whether the system runs."""
    try:
        done = session.call("doctor examine")
        if any(result["check"] == "gates" and result["state"] != "ok" for result in done["results"]):
            # A change that was made a moment ago may still be on its way to the gates.
            time.sleep(_RETRY_S)
            done = session.call("doctor examine")
    except UserError as error:
        yield _result("control", error.problem, error.remedy)
        return False
    yield _result("control", note="running" if done["live"] else "stopped; looked at the store myself")
    yield from done["results"]
    return bool(done["live"])


def _source_addresses(session: Session, settings: Settings) -> Result:
    """Whether most of a day's calls come from one private address, which is then a proxy's and not the client's."""
    from jackstop.cli import lake

    calls: Counter[str] = Counter()
    for batch in lake.batches(session.home.lake, ["src_ip"], SystemClock().now_us() - _DAY_US):
        calls.update(address for address in batch.to_pydict()["src_ip"] if address)
    if calls.total() < _ENOUGH_CALLS:
        return _result("client addresses", note="too few calls to judge by")
    address, count = calls.most_common(1)[0]
    if 2 * count > calls.total() and _is_behind_proxy(address):
        trusted = ", ".join(settings.gate.trusted_proxies) or "none"
        return _result(
            "client addresses",
            f"{count} of {calls.total()} calls come from {address}, a private address: probably a proxy's",
            f"set gate.trusted_proxies (now: {trusted}) to its network, or gate.proxy_protocol",
            warn=True,
        )
    if 2 * count > calls.total() and ipaddress.ip_address(address).is_loopback:
        note = "most calls come from this machine; if they pass a proxy on it, set gate.trusted_proxies"
        return _result("client addresses", note=note)
    return _result("client addresses", note=f"{len(calls)} in the last day")


def _is_behind_proxy(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return parsed.is_private and not parsed.is_loopback
