"""Calling a command: through control's socket, or with control stopped in this process under its lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from jackstop.control.protocol import Command, Frames, Reply, frame
from jackstop.errors import UserError
from jackstop.settings import Home, Settings

WAIT_S = 10.0
_RETRY_S = 0.05
_READ_BYTES = 1 << 18
_LONGEST_SOCKET_PATH = 100  # sockaddr_un holds 108 bytes (unix(7))

Ask = Callable[[str, dict[str, Any]], Any]
"""Runs a command in control: its name and its arguments. What the worker's parts are given, so that tests can."""


def call(home: Home, settings: Settings, name: str, args: dict[str, Any]) -> Any:
    """Run a command wherever control is, and return its result.

    Control takes its lock before its socket is there, and another command line may hold the lock for a
    moment; both are waited for, at most WAIT_S. Raises UserError: the command's own, or that control is
    not to be had.
    """
    if not home.run.is_dir():
        raise UserError(f"{home.root} is not set up", "run `jackstop init` first, or set JACKSTOP_HOME")
    deadline = time.monotonic() + WAIT_S
    while True:
        reply = _through_socket(home, name, args)
        if reply is None:
            reply = _under_lock(home, settings, name, args)
        if reply is not None:
            return _result(reply)
        if time.monotonic() > deadline:
            raise UserError(
                "control holds its lock and does not answer on its socket",
                f"see {home.logs}; stop Jackstop and start it again with `jackstop up`",
            )
        time.sleep(_RETRY_S)


def ask(home: Home, name: str, args: dict[str, Any]) -> Any:
    """Run a command in the running control, and nowhere else. Raises UserError when control is away."""
    reply = _through_socket(home, name, args)
    if reply is None:
        raise UserError("control is away", "start it with `jackstop up`")
    return _result(reply)


def _result(reply: Reply) -> Any:
    if reply.status or reply.problem:
        raise UserError(reply.problem, reply.remedy, reply.status or 3)
    return reply.result


def connect(home: Home) -> socket.socket | None:
    """A connection to control, None when nobody listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket_path(home) as path:
            connection.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except PermissionError:
        connection.close()
        raise UserError(
            f"{home.control_socket} belongs to another user", "run this as the user that runs Jackstop"
        ) from None
    return connection


@contextlib.contextmanager
def socket_path(home: Home) -> Iterator[str]:
    """A path to control's socket that fits into a socket address, however deep the home lies."""
    plain = str(home.control_socket)
    if len(os.fsencode(plain)) <= _LONGEST_SOCKET_PATH:
        yield plain
        return
    folder = os.open(home.run, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{home.control_socket.name}"
    finally:
        os.close(folder)


def _through_socket(home: Home, name: str, args: dict[str, Any]) -> Reply | None:
    connection = connect(home)
    if connection is None:
        return None
    with connection:
        try:
            connection.sendall(frame(Command(name, args)))
            frames = Frames()
            while data := connection.recv(_READ_BYTES):
                for message in frames.feed(data):
                    if isinstance(message, Reply):
                        return message
        except (OSError, ValueError):
            pass
    raise UserError(
        "control closed the connection before it answered",
        f"it may have done what was asked: look before trying again; see {home.logs}",
    )


def _under_lock(home: Home, settings: Settings, name: str, args: dict[str, Any]) -> Reply | None:
    """The reply, or None when somebody else holds the lock."""
    with lock(home) as held:
        if not held:
            return None
        return _in_process(home, settings, name, args)


@contextlib.contextmanager
def lock(home: Home, wait_s: float = 0.0) -> Iterator[bool]:
    """Control's lock; False when somebody else holds it for longer than `wait_s`."""
    handle = os.open(home.control_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_s
    try:
        while not _locked(handle):
            if time.monotonic() >= deadline:
                yield False
                return
            time.sleep(_RETRY_S)
        yield True
    finally:
        os.close(handle)


def parent_pid(home: Home) -> int | None:
    """The process of `jackstop up`, None when none runs: a pid counts only while its owner locks the file.

    Raises PermissionError when the home belongs to another user.
    """
    try:
        with home.parent_pid.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read(32).strip()
                return int(text) if text.isdigit() else None
    except FileNotFoundError:
        pass
    return None


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _in_process(home: Home, settings: Settings, name: str, args: dict[str, Any]) -> Reply:
    from jackstop.clock import SystemClock
    from jackstop.control.commands import Context, own_actor, run
    from jackstop.store.engine import open_store
    from jackstop.vault.kek import open_vault

    if not settings.store.url and not home.database.exists():
        raise UserError(f"there is no database in {home.root}", "run `jackstop init` first")
    store = open_store(settings, home)
    try:
        store.require_migrated()
        vault = open_vault(settings, home)
        return run(Context(store, vault, settings, home, SystemClock(), own_actor()), name, args)
    finally:
        store.close()


def initialise(home: Home, settings: Settings, args: dict[str, Any]) -> dict[str, Any]:
    """What `jackstop init` does once the folders and the configuration are there. Raises UserError."""
    from jackstop.clock import SystemClock
    from jackstop.control.commands import Context, own_actor, run
    from jackstop.store.engine import open_store
    from jackstop.vault.envelope import Vault
    from jackstop.vault.kek import backend

    with lock(home) as held:
        if not held:
            raise UserError("Jackstop is running in this home", "stop it before `jackstop init`")
        store = open_store(settings, home)
        try:
            store.migrate()
            keks = backend(settings, home)
            keks.create()
            ctx = Context(store, Vault(keks.load()), settings, home, SystemClock(), own_actor())
            result: dict[str, Any] = _result(run(ctx, "init begin", args))
            return result
        finally:
            store.close()
