"""LiteLLM's proxy from PyPI: with the fewest features, with budgets by a custom_auth function, or with a database."""

import json
import os
import shutil
import signal
import time
import urllib.error
import urllib.request
from importlib.metadata import PathDistribution
from pathlib import Path

from bench.peers import litellm_database
from bench.peers.base import Running, Unavailable, family, free_port, python_environment, spawn

NAME = "litellm"
PACKAGES = ("litellm[proxy]==1.106.2", "prisma==0.15.0")
AUTH = Path(__file__).with_name("litellm_auth.py")
MASTER = "sk-master-of-the-bench"
START_S = 300
"""Two workers on a busy machine take more than a minute."""


def install(cache):
    python_environment(cache / NAME / "venv", *PACKAGES)


def install_database(cache):
    """What its virtual keys need besides. Raises Unavailable where that cannot be had."""
    install(cache)
    litellm_database.install(cache, cache / NAME / "venv")


def version(cache):
    (found,) = (cache / NAME / "venv").glob("lib/python*/site-packages/litellm-[0-9]*.dist-info")
    return PathDistribution(found).version


def start(
    cache,
    folder,
    upstream,
    *,
    cores,
    workers=1,
    keys=1000,  # noqa: ARG001 the fewest features have one
    ca=None,
    budgets=None,
    store=None,
    fail_closed=False,
    database=None,
):
    """Without `budgets` and `database` the fewest features: one model, no callbacks, the master key.

    `budgets`, {key: US dollars}, are handed out by a custom_auth function. With `database`, a
    `litellm_database.Database`, the caller makes virtual keys over the admin routes; the header is the master key's.
    What is spent and reserved stands in each worker's memory, and in `store`, the URL of a Redis, where one is given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder / "litellm.log"
    settings = _configuration(folder, upstream, budgets, store, fail_closed=fail_closed)
    if not (database or budgets):
        settings["litellm_settings"]["callbacks"] = []
    configuration = folder / "litellm.yaml"
    configuration.write_text(json.dumps(settings, indent=1))  # JSON is YAML
    environment = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "DISABLE_ADMIN_UI": "True"}
    if ca:
        environment["SSL_CERT_FILE"] = str(ca)
    programs = cache / NAME / "venv/bin"
    environment["PATH"] = f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"
    if database:
        environment |= database.environment
    command = [programs / "litellm", "--config", configuration, "--host", "127.0.0.1", "--port", port]
    process = spawn([*command, "--num_workers", workers], log, cores, environment, cwd=folder)
    _wait_alive(f"http://127.0.0.1:{port}/health/liveliness", workers, process, log)
    return Running(
        host="127.0.0.1",
        port=port,
        path="/v1/chat/completions",
        headers=[f"authorization: Bearer {name}" for name in budgets or [MASTER]],
        model="gpt-4o-mini",
        started=[process],
        serving=lambda: _serving(process.pid, workers),
    )


def _configuration(folder, upstream, budgets, store, *, fail_closed):
    model = {"model": "openai/gpt-4o-mini", "api_base": f"{upstream}/v1", "api_key": "sk-mock"}
    general = {"master_key": MASTER}
    proxy = {"num_retries": 0}
    if budgets:
        shutil.copy(AUTH, folder / AUTH.name)
        (folder / "litellm_keys.json").write_text(json.dumps(budgets))
        general |= {"custom_auth": "litellm_auth.user_api_key_auth", "custom_auth_run_common_checks": True}
    if store:
        host, _, port = store.removeprefix("redis://").partition(":")
        cache = {"type": "redis", "host": host, "port": int(port), "supported_call_types": []}
        proxy |= {"cache": True, "cache_params": cache}
    if fail_closed:
        general["fail_closed_budget_enforcement"] = True
    return {
        "model_list": [{"model_name": "gpt-4o-mini", "litellm_params": model}],
        "litellm_settings": proxy,
        "general_settings": general,
    }


def _wait_alive(url, workers, process, log):
    """Workers share a socket that listens before any of them is ready; each says when it has read its configuration."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            ready = log.read_text(errors="replace").count("Proxy initialized with Config") >= workers
            if ready and urllib.request.urlopen(url, timeout=10).status == 200:
                return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.1)
    for pid in family(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    raise Unavailable(f"did not start: {log.read_text(errors='replace')[-500:].strip()}")


def _serving(pid, workers):
    """Its only process, or the children that a supervisor has started for the work."""
    return family(pid) if workers == 1 else family(pid)[1:]
