"""`jackstop audit verify`: walks the audit log's chain."""

from __future__ import annotations

import argparse
from pathlib import Path

from jackstop.cli.output import Subparsers, command, group, print_json
from jackstop.cli.session import Session
from jackstop.errors import UserError


def register(commands: Subparsers) -> None:
    """Add the group."""
    inner = group(commands, "audit", "the audit log")
    made = command(inner, "verify", _verify, "walk the audit log's chain and say where it is broken")
    made.add_argument(
        "--checkpoint", metavar="FILE", help="also compare with what this file remembers, then move it forward"
    )


def _verify(args: argparse.Namespace, session: Session) -> int:
    from jackstop.store.audit import Checkpoint, read_checkpoint, write_checkpoint

    path = Path(args.checkpoint) if args.checkpoint else None
    known = None
    if path is not None and path.exists():
        known = read_checkpoint(path.read_text(encoding="utf-8", errors="replace"))
    done = session.call("audit verify", checkpoint={"seq": known.seq, "hash": known.hash} if known else None)
    if done["ok"] and path is not None:
        _replace(path, write_checkpoint(Checkpoint(done["seq"], done["hash"])))
    if args.json:
        print_json(done)
    elif done["ok"]:
        print(f"the chain of {done['seq']} rows is whole" + (", and goes on from the checkpoint" if known else ""))
    else:
        print(f"the chain is broken at row {done['broken_seq']}: {done['problem']}")
    return 0 if done["ok"] else 1


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise UserError(
            f"the checkpoint {path} cannot be written: {error.strerror}", "name a file in a folder that you may write"
        ) from None
