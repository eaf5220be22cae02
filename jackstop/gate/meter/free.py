"""Routes with a body that cost nothing: token counting and moderation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jackstop.errors import Refused
from jackstop.gate.meter import fields
from jackstop.gate.meter.base import Ask, Outcome, StreamMeter, Usage
from jackstop.gate.meter.fields import Malformed
from jackstop.gate.meter.openai_embeddings import Unread


class FreeMeter:
    """A bound of zero and a settled usage of zero; the model is read so that a policy can judge it.

    Anthropic's count_tokens is free (https://platform.claude.com/docs/en/build-with-claude/token-counting), and so
    are OpenAI's moderations (https://developers.openai.com/api/docs/guides/moderation); both read 2026-11-23.
    """

    dialect = "free"

    def __init__(self, default_model: str = "") -> None:
        self.default_model = default_model

    def ask(self, body: Mapping[str, Any], size: int) -> Ask | Refused:  # noqa: ARG002
        """Read the model; see `Meter.ask`."""
        try:
            model = fields.text(body, "model") or self.default_model
            if not model:
                raise Malformed("`model` is required and has to be a string")
        except Malformed as error:
            return error.refused()
        return Ask(model=model, has_output=False)

    def rewrite(self, body: bytes, ask: Ask, cap: int | None) -> bytes:  # noqa: ARG002
        """Nothing to write."""
        return body

    def whole(self, body: bytes) -> Outcome:  # noqa: ARG002
        """Free, whatever it says."""
        return Outcome(usage=Usage(), complete=True)

    def stream(self, ask: Ask) -> StreamMeter:  # noqa: ARG002
        """These routes do not stream; bytes pass."""
        return Unread()

    def texts(self, body: Mapping[str, Any]) -> list[str]:  # noqa: ARG002
        """None that cost."""
        return []


COUNT_TOKENS = FreeMeter()
MODERATIONS = FreeMeter(default_model="omni-moderation-latest")
