"""Admit: a policy made ready for the request path, once for all keys that share it; no sockets here."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from jackstop.gate.source import Networks, compile_networks
from jackstop.keys.hours import parse_hours
from jackstop.keys.policy import Policy
from jackstop.settings import Mode

MAX_KEPT_RULES = 4_096
"""Policies that stay compiled; a key in use keeps its own beyond that."""


class Rules(msgspec.Struct, frozen=True):
    """A compiled policy. None, and no networks or hours, allow everything of their kind.

    `enforces` is for the rules that a person set, `enforces_defaults` for those that come with Jackstop.
    """

    policy: Policy
    providers: frozenset[str] | None
    models: re.Pattern[str] | None
    endpoints: re.Pattern[str] | None
    networks: Networks
    hours: tuple[tuple[int, int], ...]
    enforces: bool
    enforces_defaults: bool


@lru_cache(maxsize=MAX_KEPT_RULES)
def compile_policy(policy: Policy, mode: Mode) -> Rules:
    """Make a policy ready, once for all keys that share it. `mode` is the organisation's.

    Raises UserError for a rule that cannot be read.
    """
    return Rules(
        policy=policy,
        providers=frozenset(policy.providers) or None,
        models=_globs(policy.models),
        endpoints=_globs(policy.endpoints),
        networks=compile_networks(policy.networks),
        hours=tuple(span for text in policy.hours for span in parse_hours(text)),
        enforces=policy.mode != "observe",
        enforces_defaults=(policy.mode or mode) == "enforce",
    )


def _globs(patterns: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns)) if patterns else None
