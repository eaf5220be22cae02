"""`jackstop vault rotate-kek`: puts the vault under a new key-encryption key."""

from __future__ import annotations

import argparse

from jackstop.cli.output import Subparsers, command, group, print_json
from jackstop.cli.session import Session


def register(commands: Subparsers) -> None:
    """Add the group."""
    inner = group(commands, "vault", "the vault's key-encryption key")
    command(inner, "rotate-kek", _rotate, "make a new key-encryption key and put everything under it")


def _rotate(args: argparse.Namespace, session: Session) -> int:
    done = session.call("vault rotate-kek")
    if args.json:
        print_json(done)
        return 0
    print(f"{done['rewrapped']} secrets are under the key-encryption key {done['kek']} now; copy it away again")
    if done["next"]:
        print(f"next: {done['next']}")
    return 0
