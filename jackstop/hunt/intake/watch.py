"""Folders and buckets looked at again and again: what is new in them is taken in, and what there is then is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from jackstop.clock import Clock
from jackstop.errors import UserError
from jackstop.hunt.intake.corpus import AUTO, Corpus, Intake, Told
from jackstop.hunt.intake.inputs import STDIN, Input, inputs_of


def watched(
    corpus: Corpus,
    clock: Clock,
    paths: Sequence[str],
    pause: Callable[[], bool],
    source: str = AUTO,
    *,
    jobs: int = 2,
    told: Told | None = None,
) -> Iterator[Intake]:
    """An intake at once, and one each time that something is new or has changed, until `pause` says False.

    A path that cannot be read for a while is looked at again; at the beginning it is an error. Raises UserError.
    """
    if STDIN in paths:
        raise UserError("standard input cannot be watched", "name a folder or a bucket", 2)
    inputs = inputs_of(paths)
    yield corpus.take_in(inputs, source, jobs=jobs, told=told)
    while pause():
        found = _now(paths)
        if found is not None and found != inputs:
            inputs, corpus.now_us = found, clock.now_us()
            intake = corpus.take_in(inputs, source, jobs=jobs, told=told)
            if intake.fresh:
                yield intake


def _now(paths: Sequence[str]) -> list[Input] | None:
    try:
        return inputs_of(paths)
    except UserError:
        return None
