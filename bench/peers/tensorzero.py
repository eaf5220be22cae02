"""TensorZero's gateway, which its Python package carries: one model, no observability; limits where asked for."""

import json
import re
import time
from importlib.metadata import PathDistribution
from pathlib import Path

from bench.peers.base import START_S, Running, Unavailable, bearer_keys, python_environment, spawn

NAME = "tensorzero"
PACKAGE = "tensorzero==2026.6.0"
PROGRAM = Path(__file__).with_name("tensorzero_gateway.py")
CONFIGURATION = """\
[gateway]
observability.enabled = false

[models.gpt-4o-mini]
routing = ["provider"]

[models.gpt-4o-mini.providers.provider]
type = "openai"
model_name = "gpt-4o-mini"
api_base = {upstream}
cost = [
  {{ pointer = "/usage/prompt_tokens", cost_per_million = 0.15, required = true }},
  {{ pointer = "/usage/completion_tokens", cost_per_million = 0.60, required = true }},
]
"""
LIMIT = """
[[rate_limiting.rules]]
always = true
{limit}
scope = [{{ tag_key = "{tag}", tag_value = "tensorzero::each" }}]
"""


def install(cache):
    python_environment(cache / NAME / "venv", PACKAGE)


def version(cache):
    (found,) = (cache / NAME / "venv").glob("lib/python*/site-packages/tensorzero-*.dist-info")
    return PathDistribution(found).version


def start(cache, folder, upstream, *, cores, workers=1, keys=1000, ca=None, limits=None, default_cost=1.0, store=None):
    """`limits` are {tag: resource per window}, such as {"user_id": "cost_per_day = 0.006"}, for each value of the tag.

    They need a `store`, the URL of a Valkey. Requests carry the tag as "tensorzero::tags" in their body, not by a key.
    """
    folder.mkdir(parents=True, exist_ok=True)
    configuration, log = folder / "tensorzero.toml", folder / "tensorzero.log"
    text = CONFIGURATION.format(upstream=json.dumps(f"{upstream}/v1/"))
    if limits:
        text += f"\n[rate_limiting]\ndefault_cost = {default_cost}\n"
        text += "".join(LIMIT.format(tag=tag, limit=limit) for tag, limit in limits.items())
    configuration.write_text(text)
    environment = {"OPENAI_API_KEY": "sk-mock", "TOKIO_WORKER_THREADS": str(workers), "TENSORZERO_VALKEY_URL": ""}
    if ca:
        environment["SSL_CERT_FILE"] = str(ca)
    process = spawn(
        [cache / NAME / "venv/bin/python", "-P", PROGRAM, configuration, *([store] if store else [])],
        log,
        cores,
        environment,
    )
    return Running(
        host="127.0.0.1",
        port=_port(process, log),
        path="/openai/v1/chat/completions",
        headers=bearer_keys(keys),
        model="tensorzero::model_name::gpt-4o-mini",
        started=[process],
    )


def _port(process, log):
    """The port, which the gateway chooses and prints."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", log.read_text(errors="replace"))
        if found:
            return int(found[1])
        time.sleep(0.05)
    process.kill()
    process.wait()
    raise Unavailable(f"did not start: {log.read_text(errors='replace')[-500:].strip()}")
