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
        path, method = scope["path"], scope["method"]
        found = _ROUTES.get((method, path))
        if found is not None:
            dialect, endpoint, handler = found
            exchange = Exchange(self.practice, dialect, endpoint, scope, receive, send)
            await _guarded(exchange, handler)
            return
        for prefix, (dialect, show) in _MODEL_ROUTES.items():
            if method == "GET" and path.startswith(prefix):
                exchange = Exchange(self.practice, dialect, "models", scope, receive, send)
                await _guarded(exchange, functools.partial(show, name=path[len(prefix) :]))
                return
        provider = path.split("/", 2)[1]
        if provider in _DIALECTS:
            exchange = Exchange(self.practice, _DIALECTS[provider], "unknown", scope, receive, send)
            await _guarded(exchange, _unknown)
            return
        await self._control(scope, receive, send)


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
        raise ProviderError(404, "sandbox: no such path or method is practised here", kind="invalid_request_error")


def _control(practice: Practice) -> Starlette:
    """GET /_sandbox/bill, /requests and /mode; POST /_sandbox/mode and /reset."""

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

    async def shown(_: Request) -> Response:
        return answer(practice.modes.shown())

    async def mode(request: Request) -> Response:
        try:
            fields: Any = msgspec.json.decode(await request.body() or b"{}")
            if not isinstance(fields, dict):
                return answer({"error": "a mode is a JSON object"}, 400)
            practice.modes.set(fields)
        except msgspec.DecodeError:
            return answer({"error": "a mode is a JSON object"}, 400)
        except ProviderError as error:
            return answer({"error": error.message}, 400)
        return answer(practice.modes.shown())

    async def reset(_: Request) -> Response:
        practice.bill.clear()
        practice.modes.clear()
        return answer({"reset": True})

    return Starlette(
        routes=[
            Route("/_sandbox/bill", bill),
            Route("/_sandbox/requests", requests),
            Route("/_sandbox/mode", shown),
            Route("/_sandbox/mode", mode, methods=["POST"]),
            Route("/_sandbox/reset", reset, methods=["POST"]),
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
