"""Access logs of nginx and Envoy: their lines as the vendors document them, and the events that they become."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from jackstop.clock import US_PER_S
from jackstop.events.sources.access_log import claims, read
from jackstop.events.sources.entry import Origin, UnreadableEntry

NOON_US = 1_772_712_000 * US_PER_S
ORIGIN = Origin("", "access.log:1", 0, NOON_US + 86_400 * US_PER_S)
SECRET = "AIzaSecretThatNobodyMayKeep"


def nginx(request: str = "POST /v1/chat/completions HTTP/1.1", status: int = 200, rest: str = "") -> str:
    return (
        f'198.51.100.7 - - [05/Mar/2026:13:00:00 +0100] "{request}" {status} 512'
        f' "https://chat.example.com/c/1?q=2" "OpenAI/Python 2.8.0"{rest}'
    )


def envoy(
    request: str = "POST /v1/chat/completions HTTP/2", status: int = 200, flags: str = "-", more: str = ""
) -> str:
    return (
        f'[2026-03-05T12:00:00.250Z] "{request}" {status} {flags}{more} 154 2048 226 100 "192.0.2.9, 198.51.100.7"'
        ' "curl/8.5.0" "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "llm.example.com" "tcp://10.0.2.1:80"'
    )


NGINX_JSON = {
    "time_iso8601": "2026-03-05T12:00:00+00:00",
    "remote_addr": "198.51.100.7",
    "remote_user": "",
    "request_method": "POST",
    "request_uri": f"/v1beta/models/gemini-2.5-pro:generateContent?key={SECRET}",
    "status": "429",
    "body_bytes_sent": "512",
    "request_length": 99,
    "request_time": "1.250",
    "http_referer": "-",
    "http_user_agent": "curl/8.5.0",
    "http_x_forwarded_for": "192.0.2.9",
    "host": "llm.example.com",
    "request_id": "r-1",
}
ENVOY_JSON = {
    "start_time": "2026-03-05T12:00:00.250Z",
    "method": "GET",
    "path": f"/api/tags?token={SECRET}",
    "protocol": "HTTP/1.1",
    "response_code": 200,
    "response_flags": "-",
    "bytes_received": 0,
    "bytes_sent": 2048,
    "duration": 226,
    "x_forwarded_for": None,
    "user_agent": "curl/8.5.0",
    "request_id": "r-2",
    "authority": "llm.example.com",
    "downstream_remote_address": "198.51.100.7:52314",
}


def test_nginx_combined() -> None:
    assert claims(nginx())
    event = read(nginx(), ORIGIN)
    assert (event.ts, event.action) == (NOON_US, "POST /v1/chat/completions")
    assert (event.action_class, event.endpoint, event.outcome, event.status) == (
        "inference", "chat.completions", "ok", 200,
    )  # fmt: skip
    assert (event.src_ip, event.src_net, event.src_raw) == ("198.51.100.7", "198.51.100.0/24", "")
    assert (event.client, event.referer_host, event.response_bytes) == ("openai", "chat.example.com", 512)
    assert (event.latency_us, event.principal, event.markers) == (None, "", "")


def test_what_administrators_add_to_a_line_of_nginx() -> None:
    event = read(nginx(rest=' "192.0.2.9" 0.350'), ORIGIN)
    assert (event.src_raw, event.latency_us, event.src_ip) == ("192.0.2.9", 350_000, "198.51.100.7")
    common = '198.51.100.7 - alice [05/Mar/2026:12:00:00 +0000] "GET /api/tags HTTP/1.1" 401 -'
    event = read(common, ORIGIN)
    assert (event.principal, event.principal_kind, event.outcome, event.response_bytes) == (
        "alice", "user", "denied", None,
    )  # fmt: skip
    assert event.markers == "recon"


@pytest.mark.parametrize("more", ["", ' via_upstream - "-"'])
def test_envoys_default_line(more: str) -> None:
    assert claims(envoy(more=more))
    event = read(envoy(more=more), ORIGIN)
    assert (event.ts, event.service, event.request_id) == (
        NOON_US + 250_000, "llm.example.com", "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2",
    )  # fmt: skip
    assert (event.src_ip, event.src_raw, event.client) == ("198.51.100.7", "192.0.2.9, 198.51.100.7", "curl")
    assert (event.request_bytes, event.response_bytes, event.latency_us) == (154, 2048, 226_000)


def test_json_of_both() -> None:
    assert claims(NGINX_JSON)
    event = read(json.dumps(NGINX_JSON), ORIGIN)
    assert (event.ts, event.model_asked, event.endpoint) == (NOON_US, "gemini-2.5-pro", "generate_content")
    assert (event.action, event.outcome) == ("POST /v1beta/models/*:generateContent", "throttled")
    assert (event.src_ip, event.src_raw, event.service) == ("198.51.100.7", "192.0.2.9", "llm.example.com")
    assert (event.request_bytes, event.response_bytes, event.latency_us) == (99, 512, 1_250_000)
    assert claims(ENVOY_JSON)
    event = read(json.dumps(ENVOY_JSON), ORIGIN)
    assert (event.ts, event.src_ip, event.markers) == (NOON_US + 250_000, "198.51.100.7", "recon")
    assert (event.action_class, event.latency_us) == ("list_models", 226_000)
    seconds = {**NGINX_JSON, "msec": "1772712000.123"}
    assert read(json.dumps(seconds), ORIGIN).ts == NOON_US + 123_000
    local = {name: value for name, value in NGINX_JSON.items() if name != "time_iso8601"}
    assert read(json.dumps({**local, "time_local": "05/Mar/2026:13:00:00 +0100"}), ORIGIN).ts == NOON_US


@pytest.mark.parametrize(
    "line",
    [
        nginx(f"GET /v1beta/models?key={SECRET} HTTP/1.1"),
        nginx(f"GET /{SECRET}/v1/models HTTP/1.1"),
        nginx(f"GET /bot{SECRET} HTTP/1.1"),
        nginx(f"GET https://llm.example.com/v1/models?key={SECRET} HTTP/1.1"),
        nginx(f"GET {SECRET}"),
        nginx(f"\\x16\\x03{SECRET}"),
        nginx().replace("?q=2", f"?key={SECRET}"),
        envoy(f"POST /v1/messages?api_key={SECRET} HTTP/1.1"),
        json.dumps(NGINX_JSON),
        json.dumps(ENVOY_JSON),
    ],
)
def test_neither_queries_nor_unknown_paths_are_kept(line: str) -> None:
    assert SECRET not in msgspec.json.encode(read(line, ORIGIN)).decode()


def test_what_is_dropped_is_counted() -> None:
    assert json.loads(read(nginx("GET /v1/models?a=b HTTP/1.1"), ORIGIN).extra) == {"content_dropped": 1}
    assert json.loads(read(nginx("GET /secret?a=b HTTP/1.1"), ORIGIN).extra) == {"content_dropped": 2}
    assert read(nginx(), ORIGIN).extra == ""
    assert read(nginx("\\x16\\x03"), ORIGIN).action == "malformed"


@pytest.mark.parametrize(
    ("request_line", "kind", "endpoint"),
    [
        ("POST /api/chat HTTP/1.1", "inference", "chat.completions"),
        ("GET /api/chat HTTP/1.1", "", "chat.completions"),
        ("POST //v1//chat/completions/ HTTP/1.1", "inference", "chat.completions"),
        ("GET /v1/models/gpt-4o HTTP/1.1", "list_models", "models"),
        ("POST /openai/deployments/prod/chat/completions HTTP/1.1", "inference", "chat.completions"),
        ("POST /model/anthropic.claude-3-haiku-20240307-v1:0/converse HTTP/1.1", "inference", "converse"),
        ("POST /v1/batches HTTP/1.1", "commit_spend", "batches"),
        ("GET /v1/batches HTTP/1.1", "data_read", "batches"),
        ("POST /api/pull HTTP/1.1", "data_write", "models"),
        ("POST /key/generate HTTP/1.1", "key_admin", "keys"),
        ("GET /.well-known/mcp.json HTTP/1.1", "read_config", "mcp"),
        ("GET /index.html HTTP/1.1", "", ""),
    ],
)
def test_what_paths_ask_for(request_line: str, kind: str, endpoint: str) -> None:
    event = read(nginx(request_line), ORIGIN)
    assert (event.action_class, event.endpoint) == (kind, endpoint)


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        (nginx(status=499), "cancelled"),
        (nginx(status=502), "error"),
        (nginx(status=422), "invalid"),
        (envoy(status=0, flags="DC"), "cancelled"),
        (envoy(status=200, flags="DC"), "cancelled"),
        (envoy(status=503, flags="UO"), "error"),
    ],
)
def test_outcomes(line: str, outcome: str) -> None:
    assert read(line, ORIGIN).outcome == outcome


def test_equal_lines_at_two_places_are_two_events() -> None:
    one, same, other = read(nginx(), ORIGIN), read(nginx(), ORIGIN), read(nginx(), ORIGIN._replace(ref="access.log:2"))
    assert one.event_id == same.event_id != other.event_id


@pytest.mark.parametrize(
    "line",
    ["", "x", "{", "{}", "[]", "{" + "[" * 9_000, nginx().replace("/Mar/", "/Foo/"), nginx() + "x" * 70_000,
     json.dumps({**NGINX_JSON, "status": "none"}), json.dumps({**NGINX_JSON, "msec": "soon"}),
     json.dumps({**NGINX_JSON, "time_iso8601": "soon"}), envoy().replace("12:00", "99:00"),
     json.dumps({**ENVOY_JSON, "response_code": None})],
)  # fmt: skip
def test_what_is_no_line(line: str) -> None:
    with pytest.raises(UnreadableEntry):
        read(line, ORIGIN)


@pytest.mark.parametrize("record", [None, [], "a line", "x" * 70_000, {}, {"remote_addr": "x"}, {"method": "GET"}])
def test_what_is_not_claimed(record: Any) -> None:
    assert not claims(record)
