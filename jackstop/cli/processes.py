"""`jackstop up`, its parts `gate`, `control` and `worker`, and `reload`."""

from __future__ import annotations

import argparse
import os
import signal

from jackstop.cli.output import Subparsers, command
from jackstop.cli.session import Session
from jackstop.errors import UserError


def register(commands: Subparsers) -> None:
    """Add the commands."""
    up = command(commands, "up", _up, "run everything until it is told to stop", with_json=False)
    up.add_argument("--gate", metavar="HOST:PORT", help="default: the setting gate.listen")
    up.add_argument("--console", metavar="HOST:PORT", help="default: the setting console")
    up.add_argument("--workers", type=int, metavar="N", help="gate processes; default: the setting workers")
    up.add_argument("--behind-tls", action="store_true", help="a proxy before the gate ends TLS")
    command(commands, "reload", _reload, "replace all processes by new ones, losing no request", with_json=False)
    gate = command(commands, "gate", _gate, "run one gate process alone", with_json=False)
    gate.add_argument("--slot", type=int, default=0, metavar="N", help="which of the gate processes it is")
    gate.add_argument("--fd", type=int, metavar="F", help="a listening socket that it was handed")
    gate.add_argument("--ready-fd", type=int, metavar="R", help="a pipe to write to once it serves")
    control = command(commands, "control", _control, "run control alone", with_json=False)
    control.add_argument("--ready-fd", type=int, metavar="R", help="wait for the one that runs, and say so there")
    command(commands, "worker", _worker, "run the worker alone", with_json=False)


def _require_home(session: Session) -> None:
    home, settings = session.home, session.settings
    if not home.run.is_dir() or not (settings.store.url or home.database.exists()):
        raise UserError(f"{home.root} is not set up", "run `jackstop init` first, or set JACKSTOP_HOME")


def _up(args: argparse.Namespace, session: Session) -> int:
    from jackstop.gate.parent import main

    if args.workers is not None and args.workers < 1:
        raise UserError("--workers is less than one", "give the number of gate processes", 2)
    _require_home(session)
    return main(args.gate, args.console, args.workers, behind_tls=args.behind_tls)


def _gate(args: argparse.Namespace, session: Session) -> int:
    from jackstop.gate.process import main

    _require_home(session)
    return main(args.slot, args.fd, args.ready_fd)


def _control(args: argparse.Namespace, session: Session) -> int:
    from jackstop.control.process import main

    _require_home(session)
    return main(args.ready_fd)


def _worker(_args: argparse.Namespace, session: Session) -> int:
    from jackstop.events.worker import main

    _require_home(session)
    return main() or 0


def _reload(_args: argparse.Namespace, session: Session) -> int:
    from jackstop.control.client import parent_pid

    try:
        pid = parent_pid(session.home)
        if pid is None:
            raise UserError("Jackstop is not running in this home", "start it: jackstop up")
        os.kill(pid, signal.SIGHUP)
    except PermissionError:
        raise UserError("Jackstop runs as another user", "run this as that user") from None
    print("reloading; what happens is in what `jackstop up` prints")
    return 0
