"""What a provider's administration API answered, as the type that its vendor documents, and all pages of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Never, TypeVar

import msgspec

from jackstop.clock import US_PER_S, from_datetime
from jackstop.money import NUSD_PER_USD
from jackstop.providers.drivers.driver import (
    Administration,
    Bucket,
    CallFailed,
    Created,
    ProviderKey,
    ProviderLimit,
)

T = TypeVar("T")

Buckets = list[Bucket]
Limits = list[ProviderLimit]
"""Named here since a driver's own `list` hides the type within its class."""

MOST_PAGES = 1_000
"""More pages than this are no answer but a provider that repeats itself."""


class Absent:
    """The refusals of the verbs that a provider does not have. A driver overrides those that it has."""

    name: str

    def list(self, admin: Administration, place: Mapping[str, str]) -> list[ProviderKey]:
        self._absent("lists keys")

    def create(
        self, admin: Administration, place: Mapping[str, str], name: str, *, beside: str, expires_s: int | None
    ) -> Created:
        self._absent("makes keys")

    def disable(self, admin: Administration, place: Mapping[str, str], key_id: str) -> None:
        self._absent("disables a key so that it can be enabled again")

    def enable(self, admin: Administration, place: Mapping[str, str], key_id: str) -> None:
        self._absent("enables a key")

    def delete(self, admin: Administration, place: Mapping[str, str], key_id: str, *, keep: str) -> None:
        self._absent("deletes keys")

    def _absent(self, what: str) -> Never:
        raise CallFailed("invalid", f"{self.name} has no API that {what}")


def shaped(answer: Any, shape: type[T], what: str) -> T:
    """The answer as a documented type. Raises CallFailed, which quotes nothing of it."""
    try:
        return msgspec.convert(answer, shape)
    except msgspec.ValidationError:
        raise CallFailed("failed", f"{what} was answered in a shape that its documentation does not have") from None


def every(page: Callable[[str], tuple[list[T], str]]) -> Iterator[T]:
    """The items of all pages. `page` takes a cursor, empty for the first, and gives items and the next one or nothing.

    Raises CallFailed where the cursor stands still or the pages do not end.
    """
    cursor = ""
    for _ in range(MOST_PAGES):
        items, following = page(cursor)
        yield from items
        if not following:
            return
        if following == cursor:
            raise CallFailed("failed", "a list of the provider goes round in a circle")
        cursor = following
    raise CallFailed("failed", f"a list of the provider has more than {MOST_PAGES:,} pages")


@contextmanager
def unless_gone() -> Iterator[None]:
    """Around a call that ends a key: one that is gone already needs no ending. Any other CallFailed goes on."""
    try:
        yield
    except CallFailed as error:
        if error.why != "missing":
            raise


def required(place: Mapping[str, str], name: str) -> str:
    """What the place says of `name`. Raises CallFailed where it says nothing."""
    if not place.get(name):
        raise CallFailed("invalid", f"the credential's place does not say which {name}")
    return place[name]


def micros(moment: datetime | int | None) -> int | None:
    """A moment as UTC microseconds: Unix seconds, or a time that is UTC where it names no zone."""
    if moment is None:
        return None
    if isinstance(moment, int):
        return moment * US_PER_S
    return from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


_MOST_DIGITS = 27
"""Of an amount: `1e999999` is a number too, which a processor writes out for minutes."""


def nusd(amount: float | str, unit_nusd: int = NUSD_PER_USD) -> int:
    """An amount in dollars, or in units of `unit_nusd`, as whole nano-dollars. Raises CallFailed for no number."""
    try:
        exact = Decimal(str(amount)) * unit_nusd
        if exact.adjusted() <= _MOST_DIGITS:
            return int(exact.to_integral_value())
    except (ArithmeticError, ValueError):
        pass  # it is no number
    raise CallFailed("failed", "the provider gave an amount of money that is no number")
