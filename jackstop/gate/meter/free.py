"""Routes with a body that cost nothing: token counting and moderation."""

from __future__ import annotations

from jackstop.gate.meter import fields
from jackstop.gate.meter.base import Ask, Outcome, StreamMeter, Usage
from jackstop.gate.meter.fields import Body
from jackstop.gate.meter.sse import Unread


class FreeMeter:
    """A bound of zero and a settled usage of zero; the model is read so that a policy can judge it.

    Anthropic's count_tokens is free (https://platform.claude.com/docs/en/build-with-claude/token-counting), and so
    are OpenAI's moderations (https://developers.openai.com/api/docs/guides/moderation); both read 2026-11-23.
    """

    dialect = "free"

    def __init__(self, default_model: str = "") -> None:
        self.default_model = default_model

    @fields.answers_refused
    def ask(self, body: Body, size: int) -> Ask:  # noqa: ARG002
        """Read the model; see `Meter.ask`."""
        return Ask(model=fields.text(body, "model") or self.default_model or fields.model(body), has_output=False)

    def rewrite(self, body: bytes, ask: Ask, cap: int | None) -> bytes:  # noqa: ARG002
        """Nothing to write."""
        return body

    def whole(self, body: bytes) -> Outcome:  # noqa: ARG002
        """Free, whatever it says."""
        return Outcome(usage=Usage(), complete=True)

    def stream(self, ask: Ask) -> StreamMeter:  # noqa: ARG002
        """These routes do not stream; bytes pass."""
        return Unread()

    def texts(self, body: Body) -> list[str]:  # noqa: ARG002
        """None that cost."""
        return []


COUNT_TOKENS = FreeMeter()
MODERATIONS = FreeMeter(default_model="omni-moderation-latest")
