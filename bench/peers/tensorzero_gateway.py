"""Run by TensorZero's own Python: `tensorzero_gateway.py CONFIGURATION [VALKEY-URL]` serves until it is ended."""

import signal
import sys

import tensorzero

gateway = tensorzero._start_http_gateway(  # noqa: SLF001 there is no other way to it
    config_file=sys.argv[1],
    clickhouse_url=None,
    postgres_url=None,
    valkey_url=sys.argv[2] if len(sys.argv) > 2 else None,
    async_setup=False,
)
print(f"listening on {gateway.base_url}", flush=True)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.pause()
