"""The database that LiteLLM's virtual keys need: PostgreSQL out of a wheel, and Prisma without its binaries.

Prisma's query engine is a binary that neither PyPI nor npm carries. litellm_engine.mjs stands in for it with the
WebAssembly build of the same engine. It is on the path of admin routes and of the batches that write spend; keys are
cached by LiteLLM itself, so that a request seldom meets it.
"""

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from bench.peers import node
from bench.peers.base import run
from tests.postgres import Postgres

ENGINE = Path(__file__).with_name("litellm_engine.mjs")
PRISMA = "5.17.0"
PACKAGES = [f"{name}@{PRISMA}" for name in ("@prisma/client", "prisma", "@prisma/adapter-pg")]
GENERATE_S = 120


def install(cache, environment):
    """Generate Prisma's client into LiteLLM's Python environment, once."""
    modules = node.packages(cache / "litellm/prisma", *PACKAGES, "pg@8", "graphql@16")
    stamp = environment / ".prisma"
    if stamp.exists():
        return
    (packages,) = environment.glob("lib/python*/site-packages")
    wrapper = _wrapper(modules)
    run(
        *(node.program(), modules / "prisma/build/index.js", "generate"),
        *("--schema", packages / "litellm_proxy_extras/schema.prisma"),
        environment={
            "PATH": f"{environment / 'bin'}{os.pathsep}{node.path()}",
            "DATABASE_URL": "postgresql://localhost",
            "PRISMA_CLI_QUERY_ENGINE_TYPE": "binary",
            "PRISMA_HIDE_UPDATE_MESSAGE": "1",
            **{f"PRISMA_{each}": str(wrapper) for each in ("QUERY_ENGINE_BINARY", "QUERY_ENGINE_LIBRARY")},
            "PRISMA_SCHEMA_ENGINE_BINARY": str(wrapper),
        },
        seconds=GENERATE_S,
    )
    stamp.touch()


def _wrapper(modules):
    """The stand-in as a program, as Prisma wants to start it."""
    wrapper = modules.parent / "query-engine"
    wrapper.write_text(f'#!/bin/sh\nexec "{node.program()}" "{ENGINE}" "{modules}" "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


class Database(Postgres):
    """A server with LiteLLM's tables; `environment` is what LiteLLM needs to find it."""

    def __init__(self, cache):
        folder = Path(tempfile.mkdtemp(prefix="jackstop-bench-"))
        folder.chmod(0o755)  # the server runs as nobody
        super().__init__(folder)
        self.start()
        (packages,) = (cache / "litellm/venv").glob("lib/python*/site-packages")
        self.ask("CREATE DATABASE litellm", "postgres")
        migrations = sorted((packages / "litellm_proxy_extras/migrations").glob("*/migration.sql"))
        self.ask("\n".join(each.read_text() for each in migrations))
        self.environment = {
            "DATABASE_URL": f"postgresql://postgres@localhost/litellm?host={folder}",
            "DISABLE_SCHEMA_UPDATE": "true",
            "PRISMA_QUERY_ENGINE_BINARY": str(_wrapper(cache / "litellm/prisma/node_modules")),
        }

    def ask(self, sql, database="litellm"):
        """What the server answers, as text."""
        program = [self._bin / "psql", "-X", "-q", "-t", "-A", "-h", self.folder, "-U", "postgres", "-d", database]
        done = subprocess.run(
            [*program, "-f", "-"], input=sql, capture_output=True, text=True, check=True, cwd=self.folder, **self._as
        )
        return done.stdout.strip()

    def pause(self):
        """The server is gone, as in an outage."""
        self._run("pg_ctl", "-w", "-m", "immediate", "-D", self.data, "stop")

    def close(self):
        with suppress(subprocess.CalledProcessError):  # it is stopped already
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
