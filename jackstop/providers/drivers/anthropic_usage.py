"""What Anthropic reports of an organization: usage by minute and key, costs by day, spend limits, the activity feed.

Facts: the vendor's pages of the usage and cost reports and of the activity feed (the SDK has neither of them) and, for
spend limits, anthropic 2.12.0 (`anthropic/resources/beta/organization/spend_limits/`), read on 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from jackstop.clock import US_PER_S, to_datetime
from jackstop.providers.drivers.answers import every, micros, nusd, shaped
from jackstop.providers.drivers.anthropic_reports import NUSD_PER_CENT, of_costs, of_usage
from jackstop.providers.drivers.calls import call, to_anthropic
from jackstop.providers.drivers.driver import Administration, AuditPage, Bucket, CallFailed, ProviderLimit
from jackstop.providers.drivers.feed import Entry, forward

MINUTE_S = 60
_DAY_S = 86_400
_MOST_MINUTES = 1_440
_MOST_DAYS = 31
_ACTIVITIES = 1_000
_LIMIT_READS = {"anthropic-beta": "spend-limit-reads-2026-09-26"}
_WINDOWS = {"daily": "day", "weekly": "week", "monthly": "month"}


class _Span(msgspec.Struct):
    starting_at: datetime
    results: list[dict[str, Any]]


class _Spans(msgspec.Struct):
    data: list[_Span]
    has_more: bool
    next_page: str | None = None


class _Scope(msgspec.Struct):
    type: str
    workspace_id: str | None = None


class _Limit(msgspec.Struct):
    """`amount` is a whole number of cents."""

    scope: _Scope
    period: str
    currency: str
    is_enabled: bool
    amount: str | None = None


class _Limits(msgspec.Struct):
    data: list[_Limit]
    next_page: str | None = None


class _Activities(msgspec.Struct):
    data: list[Entry]
    has_more: bool
    last_id: str | None = None


def usage(admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> list[Bucket]:
    """By minute, key, model and service tier. The report counts no requests; the workbench's key is empty."""
    query = {
        "bucket_width": "1m",
        "limit": _MOST_MINUTES,
        "group_by[]": ["api_key_id", "model", "service_tier"],
        "workspace_ids[]": [place["workspace"]] if place.get("workspace") else None,
    }
    spans = _results(admin, "usage_report/messages", query, MINUTE_S, since_us, until_us)
    return [of_usage(result, start_us, MINUTE_S * US_PER_S) for start_us, result in spans]


def costs(admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> list[Bucket]:
    """By day and model, of the place's workspace or the organization. The report does not tell keys apart."""
    query = {"limit": _MOST_DAYS, "group_by[]": ["workspace_id", "description"]}
    spans = _results(admin, "cost_report", query, _DAY_S, since_us, until_us)
    wanted = [each for each in spans if place.get("workspace") in {None, "", each[1].get("workspace_id")}]
    charged = [of_costs(result, start_us, _DAY_S * US_PER_S) for start_us, result in wanted]
    return [bucket for bucket in charged if bucket is not None]


def limits(admin: Administration, place: Mapping[str, str]) -> list[ProviderLimit]:
    """The limits of the place's workspace, of the organization, and the one that Anthropic sets itself."""
    url = admin.base_url + "/v1/organizations/spend_limits"

    def page(cursor: str) -> tuple[list[_Limit], str]:
        query = {"page": cursor or None}
        answer = call("GET", url, {**to_anthropic(admin.secret), **_LIMIT_READS}, query=query, ca=admin.ca)
        found = shaped(answer, _Limits, "listing spend limits")
        return found.data, found.next_page or ""

    workspace = place.get("workspace", "")
    return [
        _as_limit(limit)
        for limit in every(page)
        if limit.scope.type in {"organization", "usage_tier"}
        or (limit.scope.type == "workspace" and limit.scope.workspace_id == workspace)
    ]


def set_limit(admin: Administration, place: Mapping[str, str], amount_nusd: int) -> ProviderLimit:
    """Set the workspace's monthly limit, or without one the organization's, in whole cents, never above the amount.

    Raises CallFailed `denied` where Anthropic has not opened this to the organization.
    """
    scope = {"type": "organization"}
    if place.get("workspace"):
        scope = {"type": "workspace", "workspace_id": place["workspace"]}
    body = {"amount": str(amount_nusd // NUSD_PER_CENT), "scope": scope, "period": "monthly"}
    answer = call(
        "POST", admin.base_url + "/v1/organizations/spend_limits", to_anthropic(admin.secret), body, ca=admin.ca
    )
    return _as_limit(shaped(answer, _Limit, "setting a spend limit"))


def audit(admin: Administration, since_us: int, cursor: str) -> AuditPage:
    """The activities since the cursor. Raises CallFailed `denied` while the feed is not switched on."""
    url = admin.base_url + "/v1/compliance/activities"

    def read(from_us: int) -> Iterator[Entry]:
        def page(after: str) -> tuple[list[Entry], str]:
            query = {"limit": _ACTIVITIES, "created_at.gte": _rfc3339(from_us), "after_id": after or None}
            found = shaped(
                call("GET", url, to_anthropic(admin.secret), query=query, ca=admin.ca), _Activities, "the activity feed"
            )
            return found.data, (found.last_id or "") if found.has_more else ""

        return every(page)

    return forward(cursor, since_us, read, _moment)


def _moment(entry: Entry) -> int:
    at = micros(shaped(entry.get("created_at"), datetime, "the activity feed"))
    assert at is not None
    return at


def _results(
    admin: Administration,
    report: str,
    query: Mapping[str, object],
    width_s: int,
    since_us: int,
    until_us: int,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The results of all spans that begin from `since_us` to `until_us`, each with its beginning."""
    url = f"{admin.base_url}/v1/organizations/{report}"
    width_us = width_s * US_PER_S
    start_us, end_us = -(-since_us // width_us) * width_us, -(-until_us // width_us) * width_us
    if start_us >= end_us:
        return

    def page(cursor: str) -> tuple[list[_Span], str]:
        asked = {**query, "starting_at": _rfc3339(start_us), "ending_at": _rfc3339(end_us), "page": cursor or None}
        spans = shaped(call("GET", url, to_anthropic(admin.secret), query=asked, ca=admin.ca), _Spans, report)
        return spans.data, (spans.next_page or "") if spans.has_more else ""

    for span in every(page):
        begun_us = micros(span.starting_at)
        if begun_us is not None and start_us <= begun_us < end_us:
            for result in span.results:
                yield begun_us, result


def _rfc3339(us: int) -> str:
    return to_datetime(us).strftime("%Y-%m-%dT%H:%M:%SZ")


def _as_limit(limit: _Limit) -> ProviderLimit:
    if limit.amount is not None and limit.currency.upper() != "USD":
        raise CallFailed("invalid", "the organization is billed in another currency than dollars")
    scope = limit.scope.type + (f":{limit.scope.workspace_id}" if limit.scope.workspace_id else "")
    amount_nusd = None if limit.amount is None else nusd(limit.amount, NUSD_PER_CENT)
    return ProviderLimit(scope, _WINDOWS.get(limit.period, limit.period), amount_nusd, limit.is_enabled)
