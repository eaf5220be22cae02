"""From a request and its behaviour to the tokens that an inference will use."""

from __future__ import annotations

import msgspec

from jackstop.sandbox import generate
from jackstop.sandbox.behaviour import Behaviour
from jackstop.sandbox.catalogue import Model, Tokens

DEFAULT_CAP = 4_096
_REASONING_SHARE = 4


class Plan(msgspec.Struct, frozen=True):
    """One inference: `tokens` for all its choices together, `output` and `reasoning` for each of them."""

    model: Model
    tier: str
    seed: int
    choices: int
    output: int
    reasoning: int
    capped: bool
    tokens: Tokens

    @property
    def visible(self) -> int:
        """Output tokens of one choice that are not reasoning."""
        return self.output - self.reasoning


def plan(
    model: Model,
    body: bytes,
    behaviour: Behaviour,
    *,
    input_tokens: int,
    cap: int | None,
    thinks: bool,
    tier: str = "default",
    choices: int = 1,
    searches: int = 0,
) -> Plan:
    """Settle how much is read and written. `cap` is the request's own, None where it sets none."""
    seed = generate.seed(body)
    room = max(1, min(model.max_output, model.context - input_tokens))
    limit = min(cap or DEFAULT_CAP, room)
    output = min(behaviour.out, limit) if behaviour.out >= 0 else generate.output_tokens(seed, limit)
    capped = output >= limit
    if behaviour.over_cap:
        output = limit + behaviour.over_cap
        capped = True
    share = output // _REASONING_SHARE if thinks else 0
    reasoning = min(behaviour.reasoning, output) if behaviour.reasoning >= 0 else share
    cached = min(behaviour.cached, input_tokens)
    write = min(behaviour.cache_write, input_tokens - cached)
    write_1h = min(behaviour.cache_write_1h, input_tokens - cached - write)
    tokens = Tokens(
        fresh=input_tokens - cached - write - write_1h,
        cached=cached,
        cache_write=write,
        cache_write_1h=write_1h,
        output=output * choices,
        reasoning=reasoning * choices,
        searches=searches,
    )
    return Plan(model, tier, seed, choices, output, reasoning, capped, tokens)


def steps(start: int, tokens: int, size: int) -> list[tuple[int, int]]:
    """Cut `tokens` from `start` into chunks of `size`: pairs of a position and an amount."""
    return [(at, min(size, start + tokens - at)) for at in range(start, start + tokens, size)]
