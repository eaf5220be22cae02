"""Where key-encryption keys are kept: a file readable by its owner alone, or the environment."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from jackstop.errors import UserError
from jackstop.secret import Secret
from jackstop.settings import KEK_VARIABLE, Home, Settings
from jackstop.vault.envelope import KEK_BYTES, Vault

ENVIRONMENT = KEK_VARIABLE


class KekBackend(Protocol):
    """A place for key-encryption keys. The last key is current; more than one means a rotation is under way."""

    def load(self) -> list[Secret]:
        """All keys, the current one last. Raises UserError when there is none, or it is not kept safely."""
        ...

    def create(self) -> None:
        """Make the first key if there is none."""
        ...

    def add(self) -> list[Secret]:
        """Make a new current key beside the others and return them all, durable before it returns."""
        ...

    def keep_current(self) -> str:
        """Forget all but the current key; returns what is left for a person to do, "" for nothing."""
        ...


class FileKek:
    """A file with one key per line in base64, the current one last; mode 0600, refused when looser."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> list[Secret]:
        try:
            with self._path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                owner = os.fstat(file.fileno()).st_uid
                content = file.read()
        except FileNotFoundError:
            raise UserError(
                f"there is no key-encryption key at {self._path}",
                "run `jackstop init`, or bring the file back from where it is kept safe",
            ) from None
        except PermissionError:
            raise UserError(
                f"the key-encryption key at {self._path} cannot be read",
                "run Jackstop as the user that owns the file",
            ) from None
        if mode & 0o077:
            raise UserError(f"{self._path} can be read by others (mode {mode:04o})", f"run: chmod 600 {self._path}")
        if owner not in (os.geteuid(), 0):
            raise UserError(f"{self._path} belongs to another user", f"run: chown {os.geteuid()} {self._path}")
        return _decode(content.decode("ascii", "replace").split(), str(self._path))

    def create(self) -> None:
        if not self._path.exists():
            self._write([Secret(os.urandom(KEK_BYTES))])

    def add(self) -> list[Secret]:
        keys = [*self.load(), Secret(os.urandom(KEK_BYTES))]
        self._write(keys)
        return keys

    def keep_current(self) -> str:
        self._write(self.load()[-1:])
        return ""

    def _write(self, keys: Sequence[Secret]) -> None:
        """Replace the file in one step, on disk before it returns: a kill leaves the old one or the new one."""
        fresh = self._path.with_name(self._path.name + ".new")
        with suppress(FileNotFoundError):
            fresh.unlink()
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(b"".join(base64.b64encode(key.reveal()) + b"\n" for key in keys))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class EnvironmentKek:
    """`JACKSTOP_KEK`: keys in base64, comma-separated while a rotation is under way, the current one last."""

    def load(self) -> list[Secret]:
        text = os.environ.get(ENVIRONMENT, "")
        if not text.strip():
            raise UserError(
                f"{ENVIRONMENT} is not set and vault.backend is env",
                f"set it, for a first key to the output of: head -c {KEK_BYTES} /dev/urandom | base64",
            )
        return _decode([part.strip() for part in text.split(",") if part.strip()], ENVIRONMENT)

    def create(self) -> None:
        self.load()

    def add(self) -> list[Secret]:
        keys = self.load()
        if len(keys) == 1:
            raise UserError(
                f"{ENVIRONMENT} holds one key, and a rotation needs the old and the new one",
                f"set {ENVIRONMENT} to OLD,NEW wherever Jackstop runs, restart it, and run this again",
                2,
            )
        return keys

    def keep_current(self) -> str:
        return f"every secret is now under the last key: take the others out of {ENVIRONMENT}"


def _decode(lines: Sequence[str], where: str) -> list[Secret]:
    keys = []
    for line in lines:
        try:
            key = base64.b64decode(line, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEK_BYTES:
            raise UserError(f"{where} does not hold {KEK_BYTES}-byte keys in base64", "bring back the right key")
        keys.append(Secret(key))
    if not keys:
        raise UserError(f"{where} is empty", "bring back the key-encryption key")
    return keys


def backend(settings: Settings, home: Home) -> KekBackend:
    """The place that the settings name."""
    if settings.vault.backend == "env":
        return EnvironmentKek()
    return FileKek(Path(settings.vault.key_file).expanduser() if settings.vault.key_file else home.kek)


def open_vault(settings: Settings, home: Home) -> Vault:
    """The vault under the keys of the configured backend. Raises UserError when they cannot be had."""
    return Vault(backend(settings, home).load())
