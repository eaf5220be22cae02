"""Cases as OCSF Detection Findings, a line of JSON each, at the end of a file."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from jackstop.errors import UserError
from jackstop.notify.channel import Channel, Undelivered
from jackstop.notify.channels import require
from jackstop.notify.message import Message
from jackstop.notify.ocsf import finding

OPTIONS = frozenset({"path"})
ASKS_FOR = ""
MIN_SEVERITY = "info"


def check(options: dict[str, str], secret: str) -> dict[str, str]:  # noqa: ARG001 -- as every kind
    """`path` is the file. It may be renamed or removed at any time: it is opened anew for each line."""
    path = Path(require(options, "path", "say which file: --option path=/var/log/jackstop/findings.ndjson"))
    if not path.is_absolute() or path.name in {"", ".."} or not path.parent.is_dir():
        raise UserError(f"{path} is not a file in a folder that exists", "give a full path, and make its folder", 2)
    return options


def send(channel: Channel, message: Message, now_us: int) -> None:  # noqa: ARG001 -- as every kind
    """Append one line and sync it. Raises Undelivered."""
    line = msgspec.json.encode(finding(message)) + b"\n"
    try:
        _append(channel.options["path"], line)
    except OSError as error:
        raise Undelivered(f"the file cannot be written: {error.strerror}") from None


def _append(path: str, line: bytes) -> None:
    # A link could lead the worker into a file that is not meant.
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            # A line was cut off by a full disk or a crash; what follows must not become part of it.
            line = b"\n" + line
        view = memoryview(line)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)
