"""`jackstop init`: makes a home."""

from __future__ import annotations

import argparse
import os

from jackstop.cli.output import Subparsers, command, print_json
from jackstop.cli.session import Session
from jackstop.errors import UserError


def register(commands: Subparsers) -> None:
    """Add the command."""
    made = command(commands, "init", _init, "set up a home: configuration, vault, database, administrator")
    made.add_argument("--admin", metavar="EMAIL", help="the first administrator")


def _init(args: argparse.Namespace, session: Session) -> int:
    from jackstop.cli.config_file import render
    from jackstop.control.client import initialise

    home = session.home
    try:
        home.create()
        if not home.config.exists():
            handle = os.open(home.config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(render())
    except OSError as error:
        raise UserError(
            f"{home.root} cannot be set up: {error.strerror}", "name another folder in JACKSTOP_HOME"
        ) from None
    done = initialise(home, session.settings, {"admin": args.admin})
    if args.json:
        print_json(done)
        return 0
    print(f"{'set up' if done['fresh'] else 'already set up'}: {home.root}")
    if done["fresh"] and session.settings.vault.backend == "file":
        print(
            f"keep a copy of {session.settings.vault.key_file or home.kek} apart from every backup: it opens the vault"
        )
    if done["fresh"]:
        print("next: jackstop credential add NAME --provider P, then jackstop up")
    return 0
