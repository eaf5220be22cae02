"""The practice providers as one server on loopback: routes, control of their behaviour, and `run`."""

from __future__ import annotations

import functools
import logging
import secrets
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from jackstop.clock import Clock, SystemClock
from jackstop.errors import UserError
from jackstop.sandbox import anthropic, chat, deepseek, openai, responses
from jackstop.sandbox.accounts import control, shaped
from jackstop.sandbox.accounts.api import ENDPOINT
from jackstop.sandbox.accounts.registry import APIS
from jackstop.sandbox.accounts.state import SETTINGS
from jackstop.sandbox.anthropic import ANTHROPIC, DEEPSEEK_ANTHROPIC
from jackstop.sandbox.bill import LOG_ROWS
from jackstop.sandbox.deepseek import DEEPSEEK
from jackstop.sandbox.errors import ProviderError
from jackstop.sandbox.exchange import TRANSPORT, Dialect, Exchange, Practice, Receive, Scope, Send
from jackstop.sandbox.openai import OPENAI

_LOG = logging.getLogger(__name__)
_DRAIN_S = 2
_BACKLOG = 4_096

Handler = Callable[[Exchange], Awaitable[None]]

_ROUTES: dict[tuple[str, str], tuple[Dialect, str, Handler]] = {
    ("POST", "/openai/v1/chat/completions"): (OPENAI, "chat.completions", chat.completions),
    ("POST", "/openai/v1/responses"): (OPENAI, "responses", responses.create),
    ("POST", "/openai/v1/embeddings"): (OPENAI, "embeddings", openai.embeddings),
    ("GET", "/openai/v1/models"): (OPENAI, "models", openai.models),
    ("POST", "/anthropic/v1/messages"): (ANTHROPIC, "messages", anthropic.messages),
    ("POST", "/anthropic/v1/messages/count_tokens"): (ANTHROPIC, "count_tokens", anthropic.count_tokens),
    ("GET", "/anthropic/v1/models"): (ANTHROPIC, "models", anthropic.models),
    ("POST", "/deepseek/chat/completions"): (DEEPSEEK, "chat.completions", chat.deepseek_completions),
    ("POST", "/deepseek/v1/chat/completions"): (DEEPSEEK, "chat.completions", chat.deepseek_completions),
    ("GET", "/deepseek/models"): (DEEPSEEK, "models", deepseek.models),
    ("GET", "/deepseek/v1/models"): (DEEPSEEK, "models", deepseek.models),
    ("GET", "/deepseek/user/balance"): (DEEPSEEK, "user.balance", deepseek.balance),
    ("POST", "/deepseek/anthropic/v1/messages"): (DEEPSEEK_ANTHROPIC, "messages", anthropic.messages),
}
_MODEL_ROUTES: dict[str, tuple[Dialect, Callable[..., Awaitable[None]]]] = {
    "/openai/v1/models/": (OPENAI, openai.model),
    "/anthropic/v1/models/": (ANTHROPIC, anthropic.model),
}
_DIALECTS: dict[str, Dialect] = {"openai": OPENAI, "anthropic": ANTHROPIC, "deepseek": DEEPSEEK}


class Sandbox:
    """The ASGI application: providers by path, and `/_sandbox/…` to look behind them."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.practice = Practice(clock or SystemClock(), secrets.randbits(32))
        self._control = _control(self.practice)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        found = _route(scope["method"], scope["path"])
        if found is None:
            await self._control(scope, receive, send)
            return
        dialect, endpoint, handler = found
        await _guarded(Exchange(self.practice, dialect, endpoint, scope, receive, send), handler)


def _route(method: str, path: str) -> tuple[Dialect, str, Handler] | None:
    """What answers a method and path, whose it is, and how it stands in the log; None for no provider's path."""
    found = _inference(method, path)
    if found is not None:
        return found
    for api in APIS:
        if path.startswith(api.prefix):
            administered = api.find(method, path)
            if administered is not None:
                return api.dialect, ENDPOINT, functools.partial(api.serve, handler=administered[0], at=administered[1])
    another = shaped.dialect_of(path)
    if another is not None:
        _, endpoint, handler = _inference(method, another[1]) or (OPENAI, "unknown", _unknown)
        return another[0], endpoint, handler
    return _nowhere(path)


def _inference(method: str, path: str) -> tuple[Dialect, str, Handler] | None:
    """What answers at the three providers whose inference is practised for itself."""
    found = _ROUTES.get((method, path))
    if found is not None:
        return found
    for prefix, (dialect, show) in _MODEL_ROUTES.items():
        if method == "GET" and path.startswith(prefix):
            return dialect, "models", functools.partial(show, name=path[len(prefix) :])
    return None


def _nowhere(path: str) -> tuple[Dialect, str, Handler] | None:
    """A provider's answer to a path that it does not have."""
    for api in APIS:
        if path.startswith(api.prefix):
            return api.dialect, ENDPOINT, _unknown
    provider = path.split("/", 2)[1]
    return (_DIALECTS[provider], "unknown", _unknown) if provider in _DIALECTS else None


async def _guarded(exchange: Exchange, handler: Handler) -> None:
    """Answer whatever goes wrong as the provider would, never with a traceback."""
    try:
        await handler(exchange)
    except ProviderError as error:
        await exchange.refuse(error)
    except RecursionError:
        await exchange.refuse(ProviderError(400, "the body is nested too deeply"))
    except Exception as error:
        _LOG.error("%s failed on a request: %s", exchange.dialect.provider, type(error).__name__)
        _LOG.debug("where it failed", exc_info=True)
        if exchange.started:
            await exchange.cut()
        else:
            await exchange.refuse(ProviderError(500, "sandbox: the practice provider failed"))


async def _unknown(exchange: Exchange) -> None:
    if await exchange.accept():
        kind = "" if exchange.endpoint == ENDPOINT else "invalid_request_error"
        raise ProviderError(404, "sandbox: no such path or method is practised here", kind=kind)


def _control(practice: Practice) -> Starlette:
    """GET /_sandbox/bill, /requests, /mode and /keys; POST /_sandbox/mode, /reset, /keys and /audit."""

    def answer(value: object, status: int = 200) -> Response:
        return Response(msgspec.json.encode(value), status, media_type="application/json")

    async def bill(_: Request) -> Response:
        return answer(practice.bill.lines())

    async def requests(request: Request) -> Response:
        try:
            after, limit = (
                int(request.query_params.get(name, otherwise))
                for name, otherwise in (("after", "0"), ("limit", str(LOG_ROWS)))
            )
        except ValueError:
            return answer({"error": "after and limit want integers"}, 400)
        return answer(practice.bill.rows(after, max(0, limit)))

    def modes() -> dict[str, object]:
        changed = practice.accounts.changed
        return practice.modes.shown() | ({"accounts": changed} if changed else {})

    async def shown(_: Request) -> Response:
        return answer(modes())

    async def mode(request: Request) -> Response:
        try:
            fields: Any = msgspec.json.decode(await request.body() or b"{}")
            if not isinstance(fields, dict):
                return answer({"error": "a mode is a JSON object"}, 400)
            settings = {name: fields.pop(name) for name in SETTINGS & fields.keys()}
            practice.accounts.set(settings)
            if fields or not settings:
                practice.modes.set(fields)
        except msgspec.DecodeError:
            return answer({"error": "a mode is a JSON object"}, 400)
        except ProviderError as error:
            return answer({"error": error.message}, 400)
        return answer(modes())

    async def reset(_: Request) -> Response:
        practice.bill.clear()
        practice.modes.clear()
        practice.accounts.clear()
        return answer({"reset": True})

    return Starlette(
        routes=[
            Route("/_sandbox/bill", bill),
            Route("/_sandbox/requests", requests),
            Route("/_sandbox/mode", shown),
            Route("/_sandbox/mode", mode, methods=["POST"]),
            Route("/_sandbox/reset", reset, methods=["POST"]),
            *control.routes(practice.accounts),
        ]
    )


class _Protocol(HttpToolsProtocol):
    """uvicorn's own, with the transport in the scope: ASGI has no word for cutting a connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: self.transport}  # type: ignore[dict-item]


class _Server(uvicorn.Server):
    """uvicorn's own, which says where it is once it accepts connections and an interrupt ends it in order."""

    greeting = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.greeting:
            print(self.greeting, flush=True)


def app(clock: Clock | None = None) -> Sandbox:
    """The practice providers as an ASGI application with a bill of its own."""
    return Sandbox(clock)


def listen(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A listening socket. Raises UserError when the address cannot be had."""
    remedy = "choose another --port, or 0 for any free one"
    if not 0 <= port <= 65_535:
        raise UserError(f"the practice providers cannot listen on port {port}: there is none", remedy, 2)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"the practice providers cannot listen on {host}:{port}: {reason}", remedy) from None
    listening.setblocking(False)
    return listening


def server(listening: socket.socket, *, tls_cert: str = "", tls_key: str = "", clock: Clock | None = None) -> _Server:
    """A server for `sockets=[listening]`. Raises UserError when certificate or key cannot be used."""
    config = uvicorn.Config(
        app(clock),
        http=_Protocol,
        ws="none",
        lifespan="off",
        loop="uvloop",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_DRAIN_S,
        ssl_certfile=tls_cert or None,
        ssl_keyfile=tls_key or None,
    )
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL + 1)
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        listening.close()
        raise UserError(
            f"certificate {tls_cert!r} or key {tls_key!r} cannot be used: {error}", "give the paths of two PEM files"
        ) from None
    return _Server(config)


def run(port: int, host: str = "127.0.0.1", *, tls_cert: str = "", tls_key: str = "") -> None:
    """Serve until interrupted; port 0 takes a free one. The address is printed once connections are accepted.

    Raises UserError when the address, the certificate or the key cannot be used.
    """
    listening = listen(port, host)
    serving = server(listening, tls_cert=tls_cert, tls_key=tls_key)
    scheme, shown = "https" if tls_cert else "http", f"[{host}]" if ":" in host else host
    serving.greeting = f"sandbox providers on {scheme}://{shown}:{listening.getsockname()[1]}"
    try:
        serving.run(sockets=[listening])
    except KeyboardInterrupt:
        pass  # uvicorn has drained by then, and raises the signal again
