"""`jackstop events export`: events out of the lake."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from jackstop.cli.output import Subparsers, command, group
from jackstop.cli.session import Session
from jackstop.errors import UserError


def register(commands: Subparsers) -> None:
    """Add the group."""
    inner = group(commands, "events", "events: one row per request")
    made = command(inner, "export", _export, "write events out of the lake", with_json=False)
    made.add_argument("--format", choices=("ndjson", "parquet", "ocsf"), default="ndjson")
    made.add_argument("--json", dest="format", action="store_const", const="ndjson", help="the same as ndjson")
    made.add_argument("--since", metavar="TIME", help="7d (ago), 2026-11-23 or 2026-11-23T09:30:00Z")
    made.add_argument("--until", metavar="TIME", help="the same; the end itself is left out")
    made.add_argument("--out", metavar="FILE", help="default: standard output")


def _export(args: argparse.Namespace, session: Session) -> int:
    if args.format == "parquet" and args.out is None and sys.stdout.isatty():
        raise UserError("Parquet is nothing for a terminal", "name a file with --out", 2)
    from jackstop.cli import lake

    since_us, until_us = lake.parse_moment_us(args.since), lake.parse_moment_us(args.until)
    session.call("events exported", format=args.format, since_us=since_us, until_us=until_us)
    lake.catch_up(session)
    with _output(args.out) as out:
        count = _WRITERS[args.format](out, session, since_us, until_us)
    if args.out is not None:
        print(f"{count} events written to {args.out}", file=sys.stderr)
    return 0


@contextmanager
def _output(name: str | None) -> Iterator[BinaryIO]:
    if name is None:
        yield sys.stdout.buffer
        return
    try:
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise UserError(f"{name} cannot be written: {error.strerror}", "name another file with --out", 2) from None
    with os.fdopen(handle, "wb") as file:
        yield file


def _write_ndjson(out: BinaryIO, session: Session, since_us: int | None, until_us: int | None) -> int:
    from jackstop.cli import lake

    count = 0
    for batch in lake.batches(session.home.lake, None, since_us, until_us):
        for row in lake.rows(batch):
            out.write(json.dumps(row).encode() + b"\n")
            count += 1
    return count


def _write_ocsf(out: BinaryIO, session: Session, since_us: int | None, until_us: int | None) -> int:
    from jackstop.cli import lake
    from jackstop.notify.ocsf import activity

    count = 0
    for batch in lake.batches(session.home.lake, None, since_us, until_us):
        for row in lake.rows(batch):
            out.write(json.dumps(activity(row)).encode() + b"\n")
            count += 1
    return count


def _write_parquet(out: BinaryIO, session: Session, since_us: int | None, until_us: int | None) -> int:
    import pyarrow.parquet as pq

    from jackstop.cli import lake
    from jackstop.events.lake import SCHEMA

    count = 0
    with pq.ParquetWriter(out, SCHEMA, compression="zstd") as writer:
        for batch in lake.batches(session.home.lake, None, since_us, until_us):
            writer.write_batch(batch.select(SCHEMA.names).cast(SCHEMA))
            count += batch.num_rows
    return count


_WRITERS = {"ndjson": _write_ndjson, "ocsf": _write_ocsf, "parquet": _write_parquet}
