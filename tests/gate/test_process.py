"""The gate's process alone: what it refuses to start with, and that it ends when it is told to."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jackstop.errors import UserError
from jackstop.gate.process import main
from jackstop.settings import Home

PATIENCE_S = 30.0


def test_it_does_not_listen_to_other_machines_in_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKSTOP_HOME", str(tmp_path))
    monkeypatch.setenv("JACKSTOP_GATE_LISTEN", "0.0.0.0:0")
    with pytest.raises(UserError):
        main(0, None)


def test_without_control_it_never_says_that_it_serves_and_ends_when_told(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    reading, writing = os.pipe()
    gate = subprocess.Popen(
        [sys.executable, "-c", f"from jackstop.gate.process import main; main(0, None, {writing})"],
        env={**os.environ, "JACKSTOP_HOME": str(home.root), "JACKSTOP_GATE_LISTEN": "127.0.0.1:0"},
        pass_fds=[writing],
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    end = time.monotonic() + PATIENCE_S
    while not list(home.journal.glob("0-*/00000001.seg")):
        assert gate.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    gate.send_signal(signal.SIGTERM)
    assert gate.wait(PATIENCE_S) == 0
    assert select.select([reading], [], [], 0)[0]
    assert os.read(reading, 10) == b""
    os.close(reading)
    assert gate.stderr is not None
    assert b"Traceback" not in gate.stderr.read()
    gate.stderr.close()
