"""What the meters' reading of answers has in common: counts, optional members, and how nothing is ever raised."""

from __future__ import annotations

from typing import Annotated

import msgspec

from jackstop.gate.meter.base import Outcome

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for bytes that are not what it was made for."""
Count = Annotated[int, msgspec.Meta(ge=0, le=10**10)]
"""No model counts beyond this; a larger or negative number is not read, and the hold stays charged."""
Label = Annotated[str, msgspec.Meta(max_length=64)]
"""A service tier, speed or region. Prices are remembered by it, so a longer one is not read either."""
MAX_CODE_CHARS = 128
"""How much is read of an error's code or type."""
NOTHING = msgspec.Raw()
"""A raw member that is absent: msgspec cannot decode `Raw | None`. A null is one of its own."""
_NULL = msgspec.Raw(b"null")


def is_given(raw: msgspec.Raw) -> bool:
    """Whether a raw member was there and not null."""
    return raw is not NOTHING and raw != _NULL


def finished(outcome: Outcome) -> Outcome:
    """The outcome of a response that came whole: final if it reports its use, or an error."""
    outcome.complete = outcome.usage is not None or bool(outcome.error_code)
    return outcome
