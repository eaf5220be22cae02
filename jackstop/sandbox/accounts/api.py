"""One administration API: its routes, its caller, and a call to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qs

import msgspec

from jackstop.sandbox.accounts.audit import Actor
from jackstop.sandbox.accounts.state import Accounts
from jackstop.sandbox.errors import ProviderError
from jackstop.sandbox.exchange import Dialect, Exchange

ENDPOINT = "administration"
"""How a call stands in the log of requests."""

JSON = b"application/json"


class Answer(NamedTuple):
    """What is answered other than a JSON object with status 200. Bytes are sent as they are."""

    body: object
    status: int = 200
    content_type: bytes = JSON


class Call:
    """One request to an administration API."""

    def __init__(self, exchange: Exchange, at: dict[str, str]) -> None:
        self.exchange = exchange
        self.accounts: Accounts = exchange.practice.accounts
        self.at = at
        self.query = parse_qs(exchange.query.decode("ascii", "replace"), keep_blank_values=True)
        self.now_us = self.accounts.now_us

    def json(self) -> dict[str, Any]:
        """The body as an object, empty without one. Raises ProviderError for anything else."""
        return self.exchange.json() if self.exchange.body.strip() else {}

    def one(self, name: str, otherwise: str = "") -> str:
        """A query parameter."""
        return self.query.get(name, [otherwise])[-1]

    def many(self, name: str) -> list[str]:
        """A query parameter that may repeat, with or without brackets after its name, or hold commas."""
        found = self.query.get(name, []) + self.query.get(f"{name}[]", [])
        return [word for value in found for word in value.split(",") if word]

    def whole(self, name: str, otherwise: int, most: int, least: int = 1) -> int:
        """A query parameter that is an integer. Raises ProviderError when it is none, or out of bounds."""
        text = self.one(name)
        if not text:
            return otherwise
        if not re.fullmatch(r"-?[0-9]{1,15}", text) or not least <= int(text) <= most:
            raise ProviderError(400, f"{name} wants an integer from {least} to {most}", param=name)
        return int(text)

    def actor(self) -> Actor:
        """The administration key of the call, as the audit log names it."""
        agent = self.exchange.header.get(b"user-agent", b"").decode("latin-1")
        return Actor("api_key", f"key_{self.exchange.credential}", ip=self.exchange.client, user_agent=agent)

    def note(self, provider: str, kind: str, resource: str, project: str = "", **detail: Any) -> None:
        """Write to the provider's audit log what this call did."""
        self.accounts.audit.add(
            provider, kind, self.now_us, self.actor(), resource=resource, project=project, detail=detail
        )


Handler = Callable[[Call], object]


def text(body: dict[str, Any], name: str, *, required: bool = True) -> str:
    """A text of the body. Raises ProviderError when it is missing or no text."""
    value = body.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or not value:
        raise ProviderError(
            400, f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
        )
    return value


def expiry(body: dict[str, Any], now_us: int, name: str = "expires_in_seconds") -> int | None:
    """When a key made now expires, from seconds in the body. Raises ProviderError when they are out of bounds."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 31_536_000:
        raise ProviderError(400, f"Invalid '{name}': expected an integer from 1 to 31536000.", param=name)
    return now_us + value * 1_000_000


class _Named(Protocol):
    @property
    def id(self) -> str: ...


_N = TypeVar("_N", bound=_Named)


def page_of(items: Sequence[_N], limit: int, after: str) -> tuple[list[_N], bool]:
    """What comes behind the id `after`, at most `limit`, and whether there is more."""
    ids = [item.id for item in items]
    start = 0
    if after:
        start = ids.index(after) + 1 if after in ids else len(items)
    return list(items[start : start + limit]), start + limit < len(items)


class Api:
    """A provider's administration API under a path of the sandbox.

    A route is a method, a path with `{names}` below the prefix, and what answers it. `check` sees each call first.
    """

    def __init__(
        self,
        prefix: str,
        dialect: Dialect,
        routes: Sequence[tuple[str, str, Handler]],
        check: Callable[[Call], None] | None = None,
    ) -> None:
        self.prefix = prefix
        self.dialect = dialect
        self._routes = [(method, re.compile(_pattern(path)), handler) for method, path, handler in routes]
        self._check = check

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, str]] | None:
        """What answers this method and path, with what stands in the place of the names."""
        for wanted, pattern, handler in self._routes:
            found = pattern.fullmatch(path, len(self.prefix)) if wanted == method else None
            if found is not None:
                return handler, found.groupdict()
        return None

    async def serve(self, exchange: Exchange, handler: Handler, at: dict[str, str]) -> None:
        """Answer one call."""
        if not await exchange.accept():
            return
        call = Call(exchange, at)
        if self._check is not None:
            self._check(call)
        found = handler(call)
        answer = found if isinstance(found, Answer) else Answer(found)
        body = answer.body if isinstance(answer.body, bytes) else msgspec.json.encode(answer.body)
        await exchange.reply(answer.status, body, kind=answer.content_type)
        exchange.book(status=answer.status, stayed=not exchange.gone)


def _pattern(path: str) -> str:
    """A regular expression of a path in which `{name}` stands for one segment, up to a colon."""
    return re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/:]+)", re.escape(path))
