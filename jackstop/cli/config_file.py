"""The configuration file that `jackstop init` writes: every setting with its default, explained, commented out."""

from __future__ import annotations

from typing import Any

import msgspec

from jackstop.settings import Settings

# One sentence for each setting, by its name in the file.
EXPLAINED = {
    "mode": "observe: default and learned rules admit and record would_refuse; enforce: they refuse",
    "console": "where the console and the metrics listen",
    "console_url": "the console's address in people's browsers, for links in messages",
    "workers": "gate processes; one per core",
    "log_level": "debug, info, warning or error",
    "gate.listen": "where applications call; beyond loopback the gate wants TLS or behind_tls",
    "gate.tls_cert": "certificate chain, PEM",
    "gate.tls_key": "its private key, PEM",
    "gate.behind_tls": "a proxy before the gate ends TLS",
    "gate.proxy_protocol": "require a PROXY v1 or v2 header on every connection",
    "gate.trusted_proxies": "networks whose X-Forwarded-For is believed",
    "gate.upstream_ca": "certificates that providers are verified against instead of the system's, PEM",
    "gate.max_header_bytes": "longest head of a request",
    "gate.max_headers": "most header lines of a request",
    "gate.max_body_bytes": "longest body of a request",
    "gate.max_connections": "most open connections of one gate process",
    "gate.max_buffered_bytes": "most bytes of bodies in memory of one gate process",
    "gate.header_timeout_s": "for a client to send a head",
    "gate.body_timeout_s": "for a client to send more of a body",
    "gate.idle_timeout_s": "for an idle connection to be kept",
    "gate.write_timeout_s": "for a client to take what it asked for",
    "gate.connect_timeout_s": "for a provider to accept a connection",
    "gate.response_timeout_s": "for a provider to begin its answer",
    "gate.stream_idle_timeout_s": "for a provider to go on with its answer",
    "gate.drain_timeout_s": "for reading on to the usage report after a client has left",
    "gate.drain_max": "most answers read on at a time",
    "gate.on_disconnect": "drain: read on to the usage report; close: charge what was held",
    "gate.lease_wait_ms": "longest wait of a request for a lease",
    "gate.lease_queue": "most requests that wait for a lease",
    "gate.max_staleness_s": "how long the gate serves without control",
    "gate.max_staleness_in_case_s": "the same for keys in an open case",
    "gate.shutdown_timeout_s": "for running requests to end when the gate stops",
    "ledger.outage_window_s": "leases cover so much recent use",
    "ledger.unknown_price": "dearest: twice the provider's dearest, marked; refuse",
    "ledger.clamp": "lower a request's output cap to what is left of a budget, rather than refuse it",
    "ledger.default_budget": "of a key issued without --budget",
    "ledger.default_max_output": "tokens of output per request where neither request nor key has a cap",
    "journal.segment_bytes": "size of a journal file",
    "journal.sync_interval_ms": "between syncs of the journal to disk",
    "lake.flush_interval_s": "between Parquet files of the lake",
    "lake.retention_days": "for which events are kept",
    "lake.address_retention_days": "for which events keep addresses and user agents",
    "detections.off": "names of detections that are not to run",
    "detections.cadence_s": "between two rounds of the detections",
    "detections.memory_mb": "of memory that their queries may take, beside the events that they look at",
    "responses.medium": "about a finding of medium severity: note, alert, throttle or quarantine",
    "responses.high": "the same for high severity; throttle also asks the key's owner",
    "responses.critical": "the same for critical severity",
    "responses.throttle_rate": "how slow a throttled key is",
    "responses.throttle_for": "after which a throttle ends by itself",
    "responses.approval_s": "for people to approve what touches a credential",
    "responses.contain": "where a second key takes over: approve: people are asked first; act: at once",
    "responses.contain_outage": "the same where it is an outage, since there is no second key: approve; act",
    "responses.unanswered": "what then becomes of it: wait, or act with the step that can be undone",
    "responses.contact": "whom the holder of a quarantined key should ask: an address or a sentence",
    "rotation.every": "a credential whose provider makes keys by API gets a new one, up to a tenth earlier; never",
    "rotation.expires": "after which a new key ends by itself, where the provider offers that; empty: never",
    "rotation.drain_max_s": "for requests with the old key to end",
    "rotation.watch_s": "after which the old key is ended, if nobody else has used it",
    "rotation.wait_s": "between disabling the old key and deleting it",
    "rotation.attempts": "of a step, until it becomes a case",
    "alerts.thresholds": "percent of a budget's window at which an alert is given",
    "alerts.forecast": "an alert when a day's or month's budget will be passed at the present pace",
    "alerts.burn_rate": "an alert when a day's or month's budget is spent many times as fast as it lasts",
    "alerts.digest_at": "HH:MM in UTC at which the digest of the day before is sent; empty: never",
    "notify.group_s": "news of one case within this time become one message",
    "notify.attempts": "to deliver a message, until it is dead",
    "notify.retention_days": "for which messages are kept that were sent or are dead",
    "store.url": "postgresql://USER:PASSWORD@HOST/NAME; empty: SQLite in this folder",
    "vault.backend": "file: the key-encryption key lies in key_file; env: in JACKSTOP_KEK",
    "vault.key_file": "empty: the file kek in this folder",
}


def render() -> str:
    """The file's text. It sets nothing: each line is a default."""
    lines = [
        "# Jackstop's settings. Each line shows a default; take its # away to change it.",
        "# Every setting is also an environment variable: gate.listen is JACKSTOP_GATE_LISTEN.",
        "",
    ]
    defaults = Settings()
    sections = []
    for name in Settings.__struct_fields__:
        value = getattr(defaults, name)
        if isinstance(value, msgspec.Struct):
            sections.append((name, value))
        else:
            lines += _setting(name, name, value)
    for section, values in sections:
        lines += ["", f"[{section}]"]
        for name in values.__struct_fields__:
            lines += _setting(f"{section}.{name}", name, getattr(values, name))
    return "\n".join(lines) + "\n"


def _setting(full_name: str, name: str, value: Any) -> list[str]:
    return [f"# {EXPLAINED[full_name]}", f"#{name} = {_toml(value)}"]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)
