"""Which drivers report usage, and what their reports do not tell."""

from __future__ import annotations

from typing import cast

from jackstop.providers import drivers
from jackstop.providers.drivers.driver import RequestLog, UsageSource
from jackstop.reconcile.material import DAY_US

KEYLESS = frozenset({"aws", "azure", "bedrock", "deepseek"})
"""Sources that do not tell keys apart: a surplus there may be anybody's in the place, so that it never contains."""
CACHELESS = frozenset({"aws", "azure", "bedrock"})
"""Sources that do not tell cached input apart: there it counts as fresh on both sides."""


def usage_of(driver: str) -> UsageSource | None:
    """The driver's reports, None where the provider has none."""
    found = drivers.driver(driver)
    return cast("UsageSource", found) if hasattr(found, "usage") else None


def log_of(driver: str) -> RequestLog | None:
    """The driver's log of single requests, None where the provider has none."""
    found = drivers.driver(driver)
    return cast("RequestLog", found) if hasattr(found, "requests") else None


def by_day(source: UsageSource) -> bool:
    """Whether usage comes by whole days: then the costs of the running day are fresher, and are compared instead."""
    return source.usage_width_us >= DAY_US
