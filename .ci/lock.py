"""Resolves pyproject.toml into the lock files: every version pinned, every file hashed, no index named."""

from __future__ import annotations

import re
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

SDISTS = {"requirements-sdist.lock": ["pyspark-client"]}
"""What comes without a wheel stands in a lock of its own: it is built without others, by what the first one brings."""
HEAD = "# Made by `make lock`; install with pip --require-hashes.\n"

for name, what in LOCKS.items():
    command = [UV, "pip", "compile", "--quiet", *SHAPE, *TARGET, "pyproject.toml", *what, "--output-file", name]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    pins = re.findall(r"^\S.*(?:\n[ \t].*)*\n", Path(name).read_text(), re.MULTILINE)
    built = {pin: lock for pin in pins for lock, names in SDISTS.items() if pin.partition("==")[0] in names}
    Path(name).write_text(HEAD + "".join(pin for pin in pins if pin not in built))
    for lock in set(built.values()):
        Path(lock).write_text(HEAD + "".join(pin for pin in pins if built.get(pin) == lock))
