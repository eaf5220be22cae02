"""What every meter answers, as values, and the interface that the gate calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from jackstop.errors import Refused


class Ask(msgspec.Struct, gc=False):
    """What a request asks for and can cause, read from its body before it is forwarded.

    A meter fills it in while it reads the body; from then on it only loses its texts. Counts are of tokens unless the
    name says otherwise.

    What bounds its cost:
    `input_bound` is the most input of one inference that the body itself carries; `allowance` is the part of it that
    no text carries (message and tool overhead, media), which an exact count of the texts has to add.
    `whole_context` says that input also comes from elsewhere (a stored response, a file, a fetched page), so that
    only the model's context window bounds it.
    `output_cap` is the client's cap, None without one; `extra_output` is billed as output beside it. Without
    `has_output` there is none to cap.
    `n` is the number of answers in one inference, `inferences` that of inferences which the request can cause,
    `web_searches` and `file_searches` that of searches.
    `cache_write` is the longest lifetime for which input can be written to a cache: "", "short" or "long".
    `service_tier`, `speed` and `inference_geo` choose the price list, each "" for the standard one.

    What may refuse it:
    `unbounded` names what the request leaves without any bound, `unmetered` what it asks for and no response reports,
    `probe` the key-checker signature that it matches. `markers` are signs of a reseller's clients; they refuse nothing.

    The rest: `document` is the parsed body, by which `rewrite` knows which members are there. `wants_usage` says that
    the client itself gets the usage report of a stream. `feature` is what the bound may turn out too low for. Of
    `end_user` and the texts, only fingerprints get into the event.
    """

    model: str
    document: Mapping[str, Any] = {}
    stream: bool = False
    input_bound: int = 0
    whole_context: bool = False
    output_cap: int | None = None
    has_output: bool = True
    extra_output: int = 0
    n: int = 1
    inferences: int = 1
    cache_write: str = ""
    service_tier: str = ""
    speed: str = ""
    inference_geo: str = ""
    web_searches: int = 0
    file_searches: int = 0
    allowance: int = 0
    wants_usage: bool = False
    unbounded: str = ""
    unmetered: str = ""
    probe: str = ""
    markers: tuple[str, ...] = ()
    feature: str = ""
    messages_n: int = 0
    tools_n: int = 0
    images_n: int = 0
    end_user: str = ""
    system_text: str = ""
    tools_text: str = ""
    first_text: str = ""

    def forget_texts(self) -> None:
        """Let go of what the request says: once it is on its way, only what it asks for counts."""
        self.document = {}
        self.end_user = self.system_text = self.tools_text = self.first_text = ""


class Usage(msgspec.Struct, gc=False):
    """What the provider reports to have used. Token counts are disjoint, as in the event schema.

    `cache_write_1h_tokens` are those written to the longer-lived cache: 1 h at Anthropic, 12 h at OpenAI. `told_nusd`
    is what the provider says that it charged, None where it does not say.
    """

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    web_searches: int = 0
    file_searches: int = 0
    service_tier: str = ""
    speed: str = ""
    inference_geo: str = ""
    told_nusd: int | None = None

    @property
    def total(self) -> int:
        return (
            self.input_tokens
            + self.cache_read_tokens
            + self.cache_write_tokens
            + self.cache_write_1h_tokens
            + self.output_tokens
        )


class Outcome(msgspec.Struct, gc=False):
    """What a response said of itself. `usage` is None as long as the provider has reported none.

    Usage is final once `complete` is set; before that it is what a stream reported so far.
    """

    usage: Usage | None = None
    model: str = ""
    stop_reason: str = ""
    request_id: str = ""
    error_code: str = ""
    complete: bool = False


class StreamMeter(Protocol):
    """Reads one server-sent event stream as it passes."""

    outcome: Outcome

    def feed(self, chunk: bytes) -> bytes:
        """Take bytes from the provider, return the bytes for the client (all, or less an injected event).

        Never raises: what it cannot read passes unchanged and leaves `outcome` as it was.
        """
        ...

    def end(self) -> bytes:
        """The provider has closed its stream: the bytes that were still held back, for the client."""
        ...


class Meter(Protocol):
    """One dialect."""

    dialect: str

    def ask(self, body: Mapping[str, Any], size: int) -> Ask | Refused:
        """Read a parsed body of `size` bytes. Refused with `malformed` where its known fields are wrong."""
        ...

    def rewrite(self, body: bytes, ask: Ask, cap: int | None) -> bytes:
        """The body to forward: output cap written in, usage asked for; otherwise byte for byte the same.

        `cap` None leaves the client's own cap as it is.
        """
        ...

    def whole(self, body: bytes) -> Outcome:
        """Read a complete response body. Never raises."""
        ...

    def stream(self, ask: Ask) -> StreamMeter:
        """A reader for one streamed response."""
        ...

    def texts(self, body: Mapping[str, Any]) -> list[str]:
        """Every text of the request that becomes input tokens, for an exact count."""
        ...
