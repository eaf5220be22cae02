"""OpenAI's embeddings dialect: input tokens only."""

from __future__ import annotations

from typing import Any

import msgspec

from jackstop.gate.meter import fields
from jackstop.gate.meter.answers import NOTHING, UNREADABLE, finished
from jackstop.gate.meter.base import Ask, Outcome, StreamMeter
from jackstop.gate.meter.fields import Body, Malformed, Members
from jackstop.gate.meter.openai_usage import ChatUsage, chat_usage, error_code
from jackstop.gate.meter.sse import Unread
from jackstop.ledger import allowances

# openai 3.54, types/embedding_create_params.py.
MEMBERS = Members(dict.fromkeys(["input", "model", "dimensions", "encoding_format", "user"]))


class _Response(msgspec.Struct, gc=False):
    model: str | None = None
    usage: ChatUsage | None = None
    error: msgspec.Raw = NOTHING


_RESPONSE = msgspec.json.Decoder(_Response)


class EmbeddingsMeter:
    """Embeddings of one provider."""

    dialect = "openai_embeddings"

    @fields.answers_refused
    def ask(self, body: Body, size: int) -> Ask:
        """Read a request; see `Meter.ask`."""
        texts, token_ids = _inputs(body.get("input"))
        # Token ids are counted one by one; their digits are no text.
        allowance = allowances.PER_REQUEST + allowances.PER_MESSAGE * max(1, texts) + token_ids
        ask = Ask(
            model=fields.model(body),
            document=body,
            input_bound=allowance if not texts else size + allowance,
            has_output=False,
            allowance=allowance,
            messages_n=texts,
            end_user=body["user"] if isinstance(body.get("user"), str) else "",
        )
        MEMBERS.read(ask, body)
        return ask

    def rewrite(self, body: bytes, ask: Ask, cap: int | None) -> bytes:  # noqa: ARG002
        """Nothing to write: there is no output to cap."""
        return body

    def whole(self, body: bytes) -> Outcome:
        """Read a complete response; see `Meter.whole`."""
        outcome = Outcome()
        try:
            response = _RESPONSE.decode(body)
        except UNREADABLE:
            return outcome
        outcome.model = response.model or ""
        outcome.error_code = error_code(response.error)
        if response.usage is not None:
            outcome.usage = chat_usage(response.usage)
        return finished(outcome)

    def stream(self, ask: Ask) -> StreamMeter:  # noqa: ARG002
        """Embeddings do not stream; bytes pass."""
        return Unread()

    def texts(self, body: Body) -> list[str]:
        """The strings to embed."""
        given = body.get("input")
        if isinstance(given, str):
            return [given]
        return [entry for entry in given or () if isinstance(entry, str)]


def _inputs(given: Any) -> tuple[int, int]:
    """How many texts and how many token ids there are in an input."""
    if isinstance(given, str):
        return 1, 0
    if not isinstance(given, list) or not given:
        raise Malformed("`input` has to be a string or a non-empty array")
    if all(type(entry) is int for entry in given):
        return 0, len(given)
    texts = token_ids = 0
    for entry in given:
        if isinstance(entry, str):
            texts += 1
        elif isinstance(entry, list) and all(type(token) is int for token in entry):
            token_ids += len(entry)
        else:
            raise Malformed("`input` has to hold strings or arrays of token ids")
    return texts, token_ids


EMBEDDINGS = EmbeddingsMeter()
