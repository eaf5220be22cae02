"""Portkey's open gateway from npm: routes by a header; it has no keys of its own and no budgets."""

import json
from pathlib import Path

from bench.peers import node
from bench.peers.base import Running, family, free_port, spawn, wait_listening

NAME = "portkey"
PACKAGE = "@portkey-ai/gateway"
VERSION = "1.15.2"
PROGRAM = Path(__file__).with_name("portkey_cluster.mjs")


def install(cache):
    node.packages(cache / NAME, f"{PACKAGE}@{VERSION}")


def version(cache):
    return json.loads((_package(cache) / "package.json").read_text())["version"]


def _package(cache):
    return cache / NAME / "node_modules" / PACKAGE


def start(cache, folder, upstream, *, cores, workers=1, keys=1000, ca=None):  # noqa: ARG001 it has no keys
    """Several workers are Node's own cluster around its server, which is one process by itself."""
    folder.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder / "portkey.log"
    environment = {"WORKERS": str(workers), "NODE_ENV": "production"}
    if ca:
        environment["NODE_EXTRA_CA_CERTS"] = str(ca)
    server = _package(cache) / "build/start-server.js"
    process = spawn([node.program(), PROGRAM, server, f"--port={port}", "--headless"], log, cores, environment)
    wait_listening(port, process, log)
    config = {"provider": "openai", "custom_host": f"{upstream}/v1", "api_key": "sk-mock"}
    return Running(
        host="127.0.0.1",
        port=port,
        path="/v1/chat/completions",
        headers=[f"x-portkey-config: {json.dumps(config)}"],
        model="gpt-4o-mini",
        started=[process],
        serving=lambda: family(process.pid)[workers > 1 :],
    )
