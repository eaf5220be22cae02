"""OpenAI as practice: its words for callers, errors and headers; models and embeddings."""

from __future__ import annotations

import base64
import functools
import math
import struct
from collections.abc import Iterator
from typing import Any

import msgspec

from jackstop.sandbox import generate
from jackstop.sandbox.catalogue import Model, Tokens
from jackstop.sandbox.errors import ProviderError
from jackstop.sandbox.exchange import Exchange, Headers

_TYPES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
    503: ("service_unavailable_error", "server_overloaded"),
}
_MAX_INPUTS = 2_048


def error_body(error: ProviderError) -> bytes:
    """An error as OpenAI writes it."""
    type_, code = _TYPES.get(error.status, ("server_error" if error.status >= 500 else "invalid_request_error", None))
    detail = {
        "message": error.message,
        "type": error.kind or type_,
        "param": error.param,
        "code": error.code or (None if error.kind else code),
    }
    return msgspec.json.encode({"error": detail})


def bearer(headers: dict[bytes, bytes]) -> bytes:
    """The secret of an Authorization header, empty without one."""
    scheme, _, secret = headers.get(b"authorization", b"").partition(b" ")
    return secret.strip() if scheme.lower() == b"bearer" else b""


class OpenAI:
    """api.openai.com."""

    provider = "openai"

    def secret(self, headers: dict[bytes, bytes]) -> bytes:
        found = bearer(headers)
        if not found:
            raise ProviderError(
                401,
                "You didn't provide an API key. You need to provide your API key in an Authorization header using "
                "Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
                kind="invalid_request_error",
            )
        return found

    def error(self, error: ProviderError, request_id: str) -> bytes:  # noqa: ARG002 the id is in a header only
        return error_body(error)

    def headers(self, request_id: str) -> Headers:
        return [
            (b"x-request-id", request_id.encode()),
            (b"openai-processing-ms", b"1"),
            (b"openai-version", b"2020-10-01"),
            (b"openai-organization", b"sandbox-organisation"),
            (b"openai-project", b"proj_sandbox"),
            (b"x-ratelimit-limit-requests", b"10000"),
            (b"x-ratelimit-remaining-requests", b"9999"),
            (b"set-cookie", b"__cf_bm=sandbox; path=/; HttpOnly; Secure"),
        ]


OPENAI = OpenAI()


def find_model(exchange: Exchange, name: object, *, embeds: bool = False) -> Model:
    """The model asked for. Raises ProviderError when it is missing, unknown or of another kind."""
    if name is None or name == "":
        raise ProviderError(400, "you must provide a model parameter", param=None)
    model = exchange.practice.catalogue.find("openai", name)
    if model is None:
        raise ProviderError(
            404,
            f"The model `{name}` does not exist or you do not have access to it.",
            kind="invalid_request_error",
            code="model_not_found",
        )
    if embeds != bool(model.dimensions):
        raise ProviderError(
            404 if embeds else 400,
            f"You are not allowed to use the model `{name}` with this endpoint.",
            kind="invalid_request_error",
            param="model",
        )
    return model


def service_tier(model: Model, asked: object) -> str:
    """The tier that serves the request, one of the model's rates. Raises ProviderError when it has no such tier."""
    if asked is None or asked in ("auto", "default"):
        return "default"
    if not isinstance(asked, str) or ("priority" if asked == "fast" else asked) not in model.rates:
        raise ProviderError(400, f"Invalid service_tier argument: {asked}", param="service_tier")
    return asked


def whole_number(body: dict[str, Any], name: str, *, least: int = 1, most: int | None = None) -> int | None:
    """An optional integer of the body. Raises ProviderError when it is none, or out of bounds."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ProviderError(
            400,
            f"Invalid type for '{name}': expected an integer.",
            kind="invalid_request_error",
            code="invalid_type",
            param=name,
        )
    if value < least:
        raise ProviderError(
            400,
            f"Invalid '{name}': integer below minimum value. Expected a value >= {least}, but got {value} instead.",
            kind="invalid_request_error",
            code="integer_below_min_value",
            param=name,
        )
    if most is not None and value > most:
        raise ProviderError(
            400,
            f"{name} is too large: {value}. This model supports at most {most} completion tokens, whereas you "
            f"provided {value}.",
            kind="invalid_request_error",
            code="invalid_value",
            param=name,
        )
    return value


def check_context(model: Model, input_tokens: int) -> None:
    """Raises ProviderError when the input is more than the model reads."""
    if input_tokens > model.context:
        raise ProviderError(
            400,
            f"This model's maximum context length is {model.context} tokens. However, your messages resulted in "
            f"{input_tokens} tokens. Please reduce the length of the messages.",
            kind="invalid_request_error",
            code="context_length_exceeded",
            param="messages",
        )


def _model_object(model: Model, name: str, owner: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": model.created, "owned_by": owner, "shutdown_date": None}


def model_names(models: list[Model]) -> Iterator[tuple[str, Model]]:
    """Every name that a list of models shows: aliases and snapshots."""
    for model in models:
        yield model.id, model
        if model.snapshot != model.id:
            yield model.snapshot, model


async def models(exchange: Exchange) -> None:
    """GET /v1/models."""
    if not await exchange.accept():
        return
    listed = exchange.practice.catalogue.of("openai")
    data = [_model_object(model, name, "system") for name, model in model_names(listed)]
    await exchange.reply(200, msgspec.json.encode({"object": "list", "data": data}))
    exchange.book(stayed=not exchange.gone)


async def model(exchange: Exchange, name: str) -> None:
    """GET /v1/models/{id}."""
    if not await exchange.accept():
        return
    found = exchange.practice.catalogue.find("openai", name)
    if found is None:
        raise ProviderError(
            404,
            f"The model '{name}' does not exist",
            kind="invalid_request_error",
            code="model_not_found",
            param="model",
        )
    await exchange.reply(200, msgspec.json.encode(_model_object(found, name, "system")))
    exchange.book(model=found.snapshot, stayed=not exchange.gone)


class _Embeddings:
    """One vector for each input; never streamed."""

    def __init__(self, model: Model, vectors: list[Any], tokens: int, usage: bool) -> None:
        self._model = model
        self._vectors = vectors
        self._tokens = tokens
        self._usage = usage

    def whole(self) -> object:
        data = [{"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(self._vectors)]
        answer: dict[str, object] = {"object": "list", "data": data, "model": self._model.snapshot}
        if self._usage:
            answer["usage"] = {"prompt_tokens": self._tokens, "total_tokens": self._tokens}
        return answer

    def head(self) -> list[bytes]:
        return []

    def pieces(self) -> Iterator[tuple[bytes, int]]:
        return iter(())

    def tail(self) -> list[bytes]:
        return []

    def fault(self) -> bytes:
        return b""


async def embeddings(exchange: Exchange) -> None:
    """POST /v1/embeddings."""
    if not await exchange.accept():
        return
    body = exchange.json()
    model = find_model(exchange, body.get("model"), embeds=True)
    counts = [_input_tokens(item) for item in _inputs(body.get("input"))]
    if max(counts) > model.context:
        raise ProviderError(
            400,
            f"This model's maximum context length is {model.context} tokens, however you requested {max(counts)} "
            "tokens. Please reduce your prompt.",
            kind="invalid_request_error",
        )
    size = whole_number(body, "dimensions", most=model.dimensions) or model.dimensions
    encoded = body.get("encoding_format") == "base64"
    first = generate.seed(exchange.body)
    vectors = [_vector(first + number, size, encoded) for number in range(len(counts))]
    tokens = Tokens(fresh=sum(counts))
    answer = _Embeddings(model, vectors, tokens.input, not exchange.behaviour.no_usage)
    await exchange.infer(model, "default", tokens, answer, stream=False)


def _inputs(value: object) -> list[Any]:
    inputs: list[Any] = [value]
    if isinstance(value, list) and not (value and isinstance(value[0], int)):
        inputs = value
    if not inputs or len(inputs) > _MAX_INPUTS or any(not item or not isinstance(item, str | list) for item in inputs):
        raise ProviderError(400, "'$.input' is invalid. Please check the API reference.", kind="invalid_request_error")
    return inputs


def _input_tokens(item: str | list[int]) -> int:
    if isinstance(item, list):
        return len(item)
    return -(-len(item.encode("utf-8", "surrogatepass")) // generate.BYTES_PER_TOKEN)


def _vector(seed: int, size: int, encoded: bool) -> Any:
    return _unit_vector(seed % 16, size, encoded)


@functools.lru_cache(maxsize=128)
def _unit_vector(number: int, size: int, encoded: bool) -> Any:
    raw = [math.sin((number + 1) * (index + 1)) for index in range(size)]
    length = math.sqrt(math.fsum(value * value for value in raw)) or 1.0
    packed = struct.pack(f"<{size}f", *(value / length for value in raw))
    return base64.b64encode(packed).decode() if encoded else list(struct.unpack(f"<{size}f", packed))
