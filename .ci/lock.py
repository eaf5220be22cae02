"""Resolves pyproject.toml into the lock files: every version pinned, every file hashed, no index named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

UV = Path(sys.executable).with_name("uv")
SHAPE = ["--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
TARGET = ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28", "--upgrade"]
LOCKS = {
    "requirements.lock": ["--extra", "postgres"],
    "requirements-dev.lock": ["--all-extras", "--group", "dev", "--constraints", "requirements.lock"],
}

for name, what in LOCKS.items():
    command = [UV, "pip", "compile", "--quiet", *SHAPE, *TARGET, "pyproject.toml", *what, "--output-file", name]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lock = Path(name)
    lock.write_text("# Made by `make lock`; install with pip --require-hashes.\n" + lock.read_text())
