"""What OpenAI reports of an organization: usage by minute and key, costs by day, hard spend limits, the audit log.

Facts: openai 3.54.0 (`openai/resources/admin/organization/{usage,audit_logs,spend_limit}.py`) and the OpenAPI document
of August 2026, read on 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from jackstop.clock import US_PER_S
from jackstop.providers.drivers.answers import every, shaped
from jackstop.providers.drivers.calls import bearing, call, path
from jackstop.providers.drivers.driver import Administration, AuditPage, Bucket, CallFailed, ProviderLimit
from jackstop.providers.drivers.feed import Entry, forward
from jackstop.providers.drivers.openai_reports import of_costs, of_usage

MINUTE_S = 60
_DAY_S = 86_400
_MOST_MINUTES = 1_440
_MOST_DAYS = 180
_PAGE = 100
_NUSD_PER_CENT = 10_000_000


class _Span(msgspec.Struct):
    start_time: int
    results: list[dict[str, Any]]


class _Spans(msgspec.Struct):
    data: list[_Span]
    has_more: bool
    next_page: str | None = None


class _Limit(msgspec.Struct):
    threshold_amount: int
    interval: str


class _Log(msgspec.Struct):
    data: list[Entry]
    has_more: bool
    last_id: str | None = None


def usage(admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> list[Bucket]:
    """By minute, key, model and service tier: completions (Responses among them) and embeddings."""
    found = []
    for kind, group_by in (
        ("completions", ["api_key_id", "model", "service_tier"]),
        ("embeddings", ["api_key_id", "model"]),
    ):
        query = {"bucket_width": "1m", "limit": _MOST_MINUTES, "group_by": group_by}
        for start_us, result in _results(admin, place, f"usage/{kind}", query, MINUTE_S, since_us, until_us):
            found.append(of_usage(result, f"usage of {kind}", start_us, MINUTE_S * US_PER_S))
    return found


def costs(admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> list[Bucket]:
    """By day, key and line item, of everything that the organization is charged for in dollars."""
    query = {"bucket_width": "1d", "limit": _MOST_DAYS, "group_by": ["api_key_id", "line_item"]}
    spans = _results(admin, place, "costs", query, _DAY_S, since_us, until_us)
    charged = [of_costs(result, start_us, _DAY_S * US_PER_S) for start_us, result in spans]
    return [bucket for bucket in charged if bucket is not None]


def limits(admin: Administration, place: Mapping[str, str]) -> list[ProviderLimit]:
    """The project's hard monthly limit, where the place names one, and the organization's."""
    found = []
    if place.get("project"):
        found.append(_limit(admin, place["project"]))
    found.append(_limit(admin, ""))
    return found


def set_limit(admin: Administration, place: Mapping[str, str], amount_nusd: int) -> ProviderLimit:
    """Set the project's limit, or without a project the organization's, in whole cents and never above the amount."""
    cents = amount_nusd // _NUSD_PER_CENT
    if cents < 1:
        raise CallFailed("invalid", "OpenAI keeps limits in cents, and this one is less than one")
    body = {"threshold_amount": cents, "currency": "USD", "interval": "month"}
    project = place.get("project", "")
    answer = call("POST", _limit_url(admin, project), bearing(admin.secret), body, ca=admin.ca)
    return _as_limit(project, shaped(answer, _Limit, "setting a spend limit"))


def audit(admin: Administration, since_us: int, cursor: str) -> AuditPage:
    """The audit log's entries since the cursor. Raises CallFailed while the organization has it switched off."""
    url = admin.base_url + "/organization/audit_logs"

    def read(from_us: int) -> Iterator[Entry]:
        def page(after: str) -> tuple[list[Entry], str]:
            query = {"limit": _PAGE, "effective_at[gte]": from_us // US_PER_S, "after": after or None}
            log = shaped(call("GET", url, bearing(admin.secret), query=query, ca=admin.ca), _Log, "the audit log")
            return log.data, (log.last_id or "") if log.has_more else ""

        return every(page)

    return forward(cursor, since_us, read, _moment)


def _moment(entry: Entry) -> int:
    at = entry.get("effective_at")
    if not isinstance(at, int):
        raise CallFailed("failed", "an entry of the audit log has no time")
    return at * US_PER_S


def _results(
    admin: Administration,
    place: Mapping[str, str],
    report: str,
    query: Mapping[str, object],
    width_s: int,
    since_us: int,
    until_us: int,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The results of all spans that begin from `since_us` to `until_us`, each with its beginning."""
    url = f"{admin.base_url}/organization/{report}"
    start_s = -(-since_us // (width_s * US_PER_S)) * width_s
    end_s = -(-until_us // (width_s * US_PER_S)) * width_s
    if start_s >= end_s:
        return

    def page(cursor: str) -> tuple[list[_Span], str]:
        asked = {
            **query,
            "start_time": start_s,
            "end_time": end_s,
            "project_ids": [place["project"]] if place.get("project") else None,
            "page": cursor or None,
        }
        spans = shaped(call("GET", url, bearing(admin.secret), query=asked, ca=admin.ca), _Spans, report)
        return spans.data, (spans.next_page or "") if spans.has_more else ""

    for span in every(page):
        if start_s <= span.start_time < end_s:
            for result in span.results:
                yield span.start_time * US_PER_S, result


def _limit_url(admin: Administration, project: str) -> str:
    below = path("projects", project) if project else ""
    return f"{admin.base_url}/organization{below}/spend_limit"


def _limit(admin: Administration, project: str) -> ProviderLimit:
    try:
        answer = call("GET", _limit_url(admin, project), bearing(admin.secret), ca=admin.ca)
    except CallFailed as error:
        if error.why == "missing":
            return ProviderLimit(_scope(project), "month", None)
        raise
    return _as_limit(project, shaped(answer, _Limit, "a spend limit"))


def _as_limit(project: str, limit: _Limit) -> ProviderLimit:
    # The answer's `enforcement` says whether calls are refused just now, which a limit that still has room does not do.
    return ProviderLimit(_scope(project), limit.interval, limit.threshold_amount * _NUSD_PER_CENT)


def _scope(project: str) -> str:
    return f"project:{project}" if project else "organization"
