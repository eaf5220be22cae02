"""`jackstop sandbox` and `jackstop demo`: practice providers, and the whole system with attacks on it."""

from __future__ import annotations

import argparse

from jackstop.cli.output import Subparsers, command
from jackstop.cli.session import Session


def register(commands: Subparsers) -> None:
    """Add the commands."""
    alone = command(commands, "sandbox", _sandbox, "run the practice providers alone", with_json=False)
    alone.add_argument(
        "--port", type=int, default=0, metavar="N", help="0, the default, takes a free one and prints it"
    )
    demo = command(commands, "demo", _demo, "run everything with practice providers and attacks", with_json=False)
    demo.add_argument("--exit", action="store_true", help="end after the attacks")
    demo.add_argument("--json", dest="json_file", metavar="FILE", help="write what was measured into this file")


def _sandbox(args: argparse.Namespace, _session: Session) -> int:
    from jackstop.sandbox.server import run

    run(args.port)
    return 0


def _demo(args: argparse.Namespace, _session: Session) -> int:
    from jackstop.sandbox.demo import main

    return main(exit_after=args.exit, json_file=args.json_file)
