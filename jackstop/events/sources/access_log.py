"""Access logs of nginx (combined, or JSON) and Envoy (its default line, or JSON) in front of a language model.

Facts: nginx.org/en/docs/http/ngx_http_log_module.html and …/ngx_http_core_module.html#variables; Envoy's "Access
logging", default format string; read on 2026-11-23. JSON has the names that an administrator gave: nginx's variables
and Envoy's example are known. Of a path only what a model's server is known to answer is kept, and never its query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec

from jackstop.clock import from_datetime
from jackstop.events.schema import Event
from jackstop.events.sources.cloud import digest, number, outcome_of, time_us
from jackstop.events.sources.entry import Origin, UnreadableEntry, extra, kept, made, place
from jackstop.events.sources.paths import asked_of
from jackstop.gate.traits import client_family, referer_host

PROVIDER = ""
SHAPE = str
LISTS: tuple[str, ...] = ()
FORM: Literal["json", "text", "csv"] = "text"
GIVES: Literal["events", "usage"] = "events"
CONTENT = ("the query", "paths that no model's server has", "the path of the referer")

_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_NGINX = re.compile(rf"(\S+) \S+ (\S+) \[([^\]]{{20,30}})\] {_QUOTED} (\d{{3}}) (\d+|-)(?: {_QUOTED} {_QUOTED}(.*))?$")
_ENVOY = re.compile(
    rf"\[(\d{{4}}-\d\d-\d\dT[^\]]{{8,20}})\] {_QUOTED} (\d{{1,3}}) (\S+)(?: \S+ \S+ {_QUOTED})? "
    rf"(\d+|-) (\d+|-) (\d+|-) (\d+|-) {_QUOTED} {_QUOTED} {_QUOTED} {_QUOTED} {_QUOTED}"
)
_REST = re.compile(rf"{_QUOTED}|(\S+)")
_ADDRESSES = re.compile(r"[0-9A-Fa-f.:\[\], ]{3,}")
_NGINX_TIME = "%d/%b/%Y:%H:%M:%S %z"
_METHOD = re.compile(r"[A-Z]{3,10}")
_CLIENT_CLOSED = 499
_DOWNSTREAM_GONE = "DC"
_MOST_CHARS = 64 * 1024


class _Line(NamedTuple):
    """What any of the formats says. Times are UTC microseconds, empty text and None are what it does not say."""

    ts: int
    method: str
    target: str
    status: int
    address: str = ""
    user: str = ""
    forwarded: str = ""
    agent: str = ""
    referer: str = ""
    host: str = ""
    request_id: str = ""
    request_bytes: int | None = None
    response_bytes: int | None = None
    latency_us: int | None = None
    flags: str = ""


def claims(record: Any) -> bool:
    """Whether it is a line of such a log, or a JSON object with their names."""
    if isinstance(record, str):
        return len(record) <= _MOST_CHARS and bool(_NGINX.match(record) or _ENVOY.match(record))
    return isinstance(record, dict) and (_is_nginx(record) or _is_envoy(record))


def read(entry: str, origin: Origin) -> Event:
    """The event of one line. Raises UnreadableEntry."""
    line = _parsed(entry.encode("utf-8", "replace").decode())
    path, _, query = line.target.partition("?")
    asked = asked_of(line.method, path)
    event = made("access_log", line.request_id or digest(origin.own_place, entry), line.ts, asked.action, origin)
    event.request_id = kept(line.request_id)
    event.action_class, event.endpoint, event.markers = asked.action_class, asked.endpoint, asked.marker
    event.model_asked = event.model = kept(asked.model)
    event.service = kept(line.host)
    event.status = line.status
    gone = line.status in {0, _CLIENT_CLOSED} or line.flags == _DOWNSTREAM_GONE
    event.outcome = "cancelled" if gone else outcome_of(line.status)
    place(event, line.address, line.agent)
    event.src_trust = "peer" if event.src_ip else ""
    event.src_raw = kept(line.forwarded)
    event.client = client_family(line.agent, "") if line.agent else ""
    event.referer_host = referer_host(line.referer.encode("utf-8", "replace"))
    if line.user:
        event.principal, event.principal_kind = kept(line.user), "user"
    event.request_bytes, event.response_bytes, event.latency_us = (
        line.request_bytes,
        line.response_bytes,
        line.latency_us,
    )
    event.extra = extra({"query": query or None, "path": None if asked.endpoint else path or None}, ())
    return event


def _parsed(entry: str) -> _Line:
    if len(entry) > _MOST_CHARS:
        raise UnreadableEntry("the line is longer than any that a server writes")
    if entry.startswith("{"):
        try:
            record = msgspec.json.decode(entry)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            raise UnreadableEntry("it is no JSON") from None
        if _is_nginx(record):
            return _nginx_json(record)
        if _is_envoy(record):
            return _envoy_json(record)
    elif found := _ENVOY.match(entry):
        return _envoy_line(found)
    elif found := _NGINX.match(entry):
        return _nginx_line(found)
    raise UnreadableEntry("it is a line of no format that is known")


def _target(request: str) -> tuple[str, str]:
    """Method and target of a request line; what is no request, such as TLS to a plain port, has neither."""
    method, _, rest = request.partition(" ")
    return (method, rest.rpartition(" ")[0] or rest) if _METHOD.fullmatch(method) else ("", "")


def _nginx_line(found: re.Match[str]) -> _Line:
    address, user, at, request, status, sent, referer, agent, rest = found.groups()
    method, target = _target(request)
    forwarded, latency_us = _rest(rest or "")
    return _Line(
        ts=_nginx_us(at),
        method=method,
        target=target,
        status=int(status),
        address=address,
        user=_told(user),
        forwarded=forwarded,
        agent=_told(agent or ""),
        referer=_told(referer or ""),
        response_bytes=number(sent),
        latency_us=latency_us,
    )


def _rest(text: str) -> tuple[str, int | None]:
    """What administrators add to `combined`: X-Forwarded-For in quotes, and the request's time in seconds."""
    forwarded, latency_us = "", None
    for quoted, bare in _REST.findall(text):
        value = quoted or bare
        if "." in value and value.replace(".", "", 1).isdigit() and latency_us is None:
            latency_us = _seconds_us(value)
        elif not forwarded and _ADDRESSES.fullmatch(value) and ("." in value or ":" in value):
            forwarded = value
    return forwarded, latency_us


def _envoy_line(found: re.Match[str]) -> _Line:
    at, request, status, flags, _, got, sent, took, _, forwarded, agent, request_id, host, _ = found.groups()
    method, target = _target(request)
    return _Line(
        ts=time_us(at),
        method=method,
        target=target,
        status=int(status),
        # The default line has the client's address in the header only, where Envoy itself has put the last.
        address=_told(forwarded).rpartition(",")[2].strip(),
        forwarded=_told(forwarded),
        agent=_told(agent),
        host=_told(host),
        request_id=_told(request_id),
        request_bytes=number(got),
        response_bytes=number(sent),
        latency_us=_milliseconds_us(took),
        flags=_told(flags),
    )


def _is_nginx(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and "remote_addr" in record
        and "status" in record
        and any(name in record for name in ("request", "request_uri", "uri"))
    )


def _is_envoy(record: Any) -> bool:
    return isinstance(record, dict) and all(
        name in record for name in ("start_time", "response_code", "method", "path")
    )


def _nginx_json(record: Mapping[str, Any]) -> _Line:
    method, target = _target(_first(record, "request"))
    return _Line(
        ts=_json_us(record),
        method=_first(record, "request_method") or method,
        target=_first(record, "request_uri", "uri") or target,
        status=_status(record.get("status")),
        address=_first(record, "remote_addr"),
        user=_first(record, "remote_user"),
        forwarded=_first(record, "http_x_forwarded_for", "x_forwarded_for"),
        agent=_first(record, "http_user_agent", "user_agent"),
        referer=_first(record, "http_referer", "http_referrer", "referer"),
        host=_first(record, "host", "http_host", "server_name"),
        request_id=_first(record, "request_id"),
        request_bytes=number(record.get("request_length")),
        response_bytes=number(record.get("body_bytes_sent", record.get("bytes_sent"))),
        latency_us=_seconds_us(str(record.get("request_time", ""))),
    )


def _envoy_json(record: Mapping[str, Any]) -> _Line:
    forwarded = _first(record, "x_forwarded_for")
    peer = _first(record, "downstream_remote_address", "downstream_direct_remote_address")
    return _Line(
        ts=time_us(_first(record, "start_time")),
        method=_first(record, "method"),
        target=_first(record, "path", "x_envoy_original_path"),
        status=_status(record.get("response_code")),
        address=peer.rpartition(":")[0].strip("[]") or forwarded.rpartition(",")[2].strip(),
        forwarded=forwarded,
        agent=_first(record, "user_agent"),
        host=_first(record, "authority"),
        request_id=_first(record, "request_id"),
        request_bytes=number(record.get("bytes_received")),
        response_bytes=number(record.get("bytes_sent")),
        latency_us=_milliseconds_us(record.get("duration")),
        flags=_first(record, "response_flags"),
    )


def _told(text: str) -> str:
    return "" if text == "-" else text


def _first(record: Mapping[str, Any], *names: str) -> str:
    values = (record.get(name) for name in names)
    return next((value for value in values if isinstance(value, str) and value not in {"", "-"}), "")


def _status(value: Any) -> int:
    status = number(value)
    if status is None or status > 999:
        raise UnreadableEntry("its status is none")
    return status


def _json_us(record: Mapping[str, Any]) -> int:
    moment = record.get("msec")
    if moment is not None:
        at = _seconds_us(str(moment))
        if at is None:
            raise UnreadableEntry("its time is none")
        return at
    local = _first(record, "time_local")
    return _nginx_us(local) if local else time_us(_first(record, "time_iso8601", "time", "timestamp", "@timestamp"))


def _nginx_us(text: str) -> int:
    try:
        return from_datetime(datetime.strptime(text, _NGINX_TIME).astimezone(UTC))
    except (ValueError, OverflowError):
        raise UnreadableEntry("its time is none") from None


def _seconds_us(text: str) -> int | None:
    """Seconds with up to six decimals, as `0.123`."""
    whole, _, part = text.partition(".")
    if not whole.isdecimal() or not whole.isascii() or len(whole) > 12 or not (part or "0").isdecimal():
        return None
    return int(whole) * 1_000_000 + int(part[:6].ljust(6, "0"))


def _milliseconds_us(value: Any) -> int | None:
    found = number(value)
    return None if found is None else found * 1000
