"""DeepSeek as practice: its words for callers, errors and headers; models and balance."""

from __future__ import annotations

import msgspec

from jackstop.sandbox.errors import ProviderError
from jackstop.sandbox.exchange import Exchange, Headers
from jackstop.sandbox.openai import bearer

_TYPES = {
    400: ("invalid_request_error", "invalid_request_error"),
    401: ("authentication_error", "invalid_request_error"),
    402: ("unknown_error", "invalid_request_error"),
    422: ("invalid_request_error", "invalid_request_error"),
    429: ("rate_limit_reached", "rate_limit_reached"),
    500: ("server_error", "server_error"),
    503: ("server_overloaded", "server_overloaded"),
}


class DeepSeek:
    """api.deepseek.com."""

    provider = "deepseek"

    def secret(self, headers: dict[bytes, bytes]) -> bytes:
        found = bearer(headers)
        if not found:
            raise ProviderError(401, "Authentication Fails (governor)")
        return found

    def error(self, error: ProviderError, request_id: str) -> bytes:  # noqa: ARG002 the id is in a header only
        type_, code = _TYPES.get(error.status, ("invalid_request_error", "invalid_request_error"))
        detail = {
            "message": error.message,
            "type": error.kind or type_,
            "param": error.param,
            "code": error.code or code,
        }
        return msgspec.json.encode({"error": detail})

    def headers(self, request_id: str) -> Headers:
        return [(b"x-ds-trace-id", request_id.removeprefix("req_").encode()), (b"x-content-type-options", b"nosniff")]


DEEPSEEK = DeepSeek()


async def models(exchange: Exchange) -> None:
    """GET /models."""
    if not await exchange.accept():
        return
    listed = exchange.practice.catalogue.of("deepseek")
    data = [{"id": model.id, "object": "model", "owned_by": "deepseek"} for model in listed]
    await exchange.reply(200, msgspec.json.encode({"object": "list", "data": data}))
    exchange.book(stayed=not exchange.gone)


async def balance(exchange: Exchange) -> None:
    """GET /user/balance: 100 US dollars less what the credential was billed."""
    if not await exchange.accept():
        return
    spent = {line.credential: line.cost_nusd for line in exchange.practice.bill.lines()}.get(exchange.credential, 0)
    left = f"{max(0, 100_000_000_000 - spent) // 10_000_000 / 100:.2f}"
    info = {"currency": "USD", "total_balance": left, "granted_balance": "0.00", "topped_up_balance": left}
    await exchange.reply(200, msgspec.json.encode({"is_available": left != "0.00", "balance_infos": [info]}))
    exchange.book(stayed=not exchange.gone)
