"""Reads an organisation at OpenAI or Anthropic and changes nothing: its keys and owners, its usage and its audit log.

Only GET. What comes back is written as it came, one record a line, into files that a hunt reads like any other log, so
that a first look and a hunt over exported files see the same. A part that the administration key may not read is told
as a gap, and the rest goes on.

Facts: openai 3.54.0 (`openai/resources/admin/organization/{projects,admin_api_keys,usage,audit_logs}.py`), anthropic
2.12.0 (`anthropic/resources/organization/{api_keys,users}.py`), platform.claude.com/docs/en/api/usage-cost-api and
…/docs/en/manage-claude/compliance-activity-feed, read on 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from jackstop.clock import US_PER_S, to_datetime
from jackstop.providers.drivers.answers import every, micros, shaped
from jackstop.providers.drivers.calls import bearing, call, path, to_anthropic
from jackstop.providers.drivers.driver import Administration, CallFailed

HOUR_US = 3_600 * US_PER_S
_MOST_HOURS = 168
_PAGE = 100
_LONG_PAGE = 1_000
_OPENAI_USAGE = {
    "completions": ["project_id", "user_id", "api_key_id", "model", "service_tier"],
    "embeddings": ["project_id", "user_id", "api_key_id", "model"],
    "images": ["project_id", "user_id", "api_key_id", "model"],
    "audio_speeches": ["project_id", "user_id", "api_key_id", "model"],
    "audio_transcriptions": ["project_id", "user_id", "api_key_id", "model"],
}
"""The reports that name a key, and what each is grouped by."""


class HeldKey(msgspec.Struct, frozen=True):
    """A key as its provider lists it, never with its secret. Times are UTC microseconds, None where nobody says.

    `owner` is a person's address or a service account's name, empty where the provider does not say; `orphaned` says
    that the owner has no access to the key's project any more, and `never_used` that the provider knows of no use.
    """

    provider: str
    id: str
    name: str
    kind: str
    owner: str
    place: str
    state: str
    created_us: int | None = None
    last_used_us: int | None = None
    expires_us: int | None = None
    orphaned: bool = False
    never_used: bool = False


class Gap(NamedTuple):
    """What could not be read of an organisation, and what is needed for it."""

    provider: str
    what: str
    problem: str
    needs: str


class Organisation(NamedTuple):
    """What was read: keys, files for a hunt, and what is missing."""

    keys: list[HeldKey]
    files: list[Path]
    gaps: list[Gap]


class Reading:
    """Collects the parts of one organisation; each may fail by itself."""

    def __init__(self, provider: str, folder: Path) -> None:
        self._provider = provider
        self._folder = folder
        self.found = Organisation([], [], [])

    def keys(self, what: str, needs: str, read: Callable[[], Iterable[HeldKey]]) -> None:
        """Take in keys."""
        try:
            self.found.keys.extend(read())
        except CallFailed as error:
            self.found.gaps.append(Gap(self._provider, what, str(error), needs))

    def records(self, name: str, needs: str, read: Callable[[], Iterable[Any]]) -> None:
        """Write records into a file of this name, one a line; without any there is none."""
        file = self._folder / f"{self._provider}-{name}.jsonl"
        written = 0
        try:
            with file.open("wb") as out:
                for record in read():
                    out.write(msgspec.json.encode(record) + b"\n")
                    written += 1
        except CallFailed as error:
            self.found.gaps.append(Gap(self._provider, name.replace("-", " "), str(error), needs))
        if written:
            self.found.files.append(file)
        else:
            file.unlink(missing_ok=True)


class _Project(msgspec.Struct):
    id: str
    name: str | None = None


class _Projects(msgspec.Struct):
    data: list[_Project]
    has_more: bool
    last_id: str | None = None


class _Person(msgspec.Struct):
    id: str | None = None
    name: str | None = None
    email: str | None = None


class _Owner(_Person):
    user: _Person | None = None
    service_account: _Person | None = None

    def told(self) -> str:
        who = self.user or self.service_account or self
        return who.email or who.name or who.id or ""


class _Key(msgspec.Struct):
    id: str
    created_at: int
    name: str | None = None
    owner: _Owner | None = None
    owner_project_access: str | None = None
    last_used_at: int | None = None
    expires_at: int | None = None


class _Keys(msgspec.Struct):
    data: list[_Key]
    has_more: bool
    last_id: str | None = None


class _Spans(msgspec.Struct):
    data: list[dict[str, Any]]
    has_more: bool
    next_page: str | None = None


class _Entries(msgspec.Struct):
    data: list[dict[str, Any]]
    has_more: bool
    last_id: str | None = None


OPENAI_NEEDS = {
    "keys of projects": "an admin key with read for projects and their API keys",
    "admin keys": "an admin key with read for admin API keys",
    "usage": "an admin key with read for usage",
    "audit log": "an admin key with read for audit logs, and the log switched on by an owner of the organisation",
}
"""The least permission for each part, as platform.openai.com names it under Organization > Admin keys > Restricted."""

ANTHROPIC_NEEDS = {
    "keys": "an Admin API key (sk-ant-admin01-…); Anthropic does not narrow it",
    "usage": "the same Admin API key",
    "activity feed": "an Admin API key that was made after the Compliance API was switched on",
}
"""The least permission for each part, as platform.claude.com names it under Settings > Admin keys."""


def openai(admin: Administration, since_us: int, until_us: int, folder: Path) -> Organisation:
    """An organisation at OpenAI, with its usage by the hour from `since_us` to `until_us`."""
    reading = Reading("openai", folder)
    needs = OPENAI_NEEDS
    headers = bearing(admin.secret)
    reading.keys("keys of projects", needs["keys of projects"], lambda: _project_keys(admin, headers, until_us))
    reading.keys("admin keys", needs["admin keys"], lambda: _admin_keys(admin, headers, until_us))
    span = {"bucket_width": "1h", "limit": _MOST_HOURS, "start_time": _whole_hour(since_us) // US_PER_S}
    for report, groups in _OPENAI_USAGE.items():
        url = f"{admin.base_url}/organization/usage/{report}"
        query = {**span, "end_time": until_us // US_PER_S, "group_by": groups}
        reading.records(f"usage-{report}", needs["usage"], partial(_spans, admin, headers, url, query))
    since = {"effective_at[gte]": since_us // US_PER_S, "limit": _PAGE}
    log = f"{admin.base_url}/organization/audit_logs"
    reading.records("audit-log", needs["audit log"], lambda: _entries(admin, headers, log, since, "after"))
    return reading.found


def _project_keys(admin: Administration, headers: Mapping[str, str], now_us: int) -> Iterator[HeldKey]:
    base = f"{admin.base_url}/organization/projects"

    def projects(after: str) -> tuple[list[_Project], str]:
        query = {"limit": _PAGE, "after": after or None}
        page = shaped(call("GET", base, headers, query=query, ca=admin.ca), _Projects, "the list of projects")
        return page.data, (page.last_id or "") if page.has_more else ""

    for project in every(projects):
        url = base + path(project.id, "api_keys")
        for key in _keys(admin, headers, url, {"owner_project_access": "any"}):
            yield _held(key, "project key", project.name or project.id, now_us)


def _admin_keys(admin: Administration, headers: Mapping[str, str], now_us: int) -> Iterator[HeldKey]:
    for key in _keys(admin, headers, f"{admin.base_url}/organization/admin_api_keys", {}):
        yield _held(key, "admin key", "organisation", now_us)


def _keys(admin: Administration, headers: Mapping[str, str], url: str, query: Mapping[str, object]) -> Iterator[_Key]:
    def page(after: str) -> tuple[list[_Key], str]:
        asked = {**query, "limit": _PAGE, "after": after or None}
        keys = shaped(call("GET", url, headers, query=asked, ca=admin.ca), _Keys, "the list of keys")
        return keys.data, (keys.last_id or "") if keys.has_more else ""

    return every(page)


def _held(key: _Key, kind: str, place: str, now_us: int) -> HeldKey:
    expires_us = micros(key.expires_at)
    return HeldKey(
        provider="openai",
        id=key.id,
        name=key.name or "",
        kind=kind,
        owner=key.owner.told() if key.owner else "",
        place=place,
        state="expired" if expires_us is not None and expires_us <= now_us else "active",
        created_us=micros(key.created_at),
        last_used_us=micros(key.last_used_at),
        expires_us=expires_us,
        orphaned=key.owner_project_access == "inactive",
        never_used=key.last_used_at is None,
    )


class _AnthropicKey(msgspec.Struct):
    id: str
    name: str
    status: str
    created_at: datetime
    created_by: _Person | None = None
    expires_at: datetime | None = None
    scope: dict[str, Any] | None = None


class _AnthropicKeys(msgspec.Struct):
    data: list[_AnthropicKey]
    has_more: bool
    last_id: str | None = None


class _People(msgspec.Struct):
    data: list[_Person]
    has_more: bool
    last_id: str | None = None


def anthropic(admin: Administration, since_us: int, until_us: int, folder: Path) -> Organisation:
    """An organisation at Anthropic, with its usage by the hour from `since_us` to `until_us`."""
    reading = Reading("anthropic", folder)
    needs = ANTHROPIC_NEEDS
    headers = to_anthropic(admin.secret)
    usage = {
        "bucket_width": "1h",
        "limit": _MOST_HOURS,
        "group_by[]": ["api_key_id", "workspace_id", "model", "service_tier"],
        "starting_at": _rfc3339(_whole_hour(since_us)),
        "ending_at": _rfc3339(until_us),
    }
    url = f"{admin.base_url}/v1/organizations/usage_report/messages"
    used: dict[str, int] = {}
    reading.records("usage", needs["usage"], lambda: _seen(_spans(admin, headers, url, usage), used))
    reading.keys("keys", needs["keys"], lambda: _anthropic_keys(admin, headers, used))
    feed = f"{admin.base_url}/v1/compliance/activities"
    since = {"created_at.gte": _rfc3339(since_us), "limit": _LONG_PAGE}
    reading.records("activity-feed", needs["activity feed"], lambda: _entries(admin, headers, feed, since, "after_id"))
    return reading.found


def _seen(spans: Iterable[dict[str, Any]], used: dict[str, int]) -> Iterator[dict[str, Any]]:
    """The spans, while `used` is told the end of the last one in which each key was used: no other call says that."""
    for span in spans:
        end_us = micros(shaped(span.get("ending_at"), datetime, "the usage report")) or 0
        for result in span["results"]:
            key = str(result.get("api_key_id") or "")
            used[key] = max(used.get(key, 0), end_us)
        yield span


def _anthropic_keys(admin: Administration, headers: Mapping[str, str], used: Mapping[str, int]) -> Iterator[HeldKey]:
    people = {person.id: person.email or person.name or "" for person in _people(admin, headers)}
    url = f"{admin.base_url}/v1/organizations/api_keys"

    def page(after: str) -> tuple[list[_AnthropicKey], str]:
        query = {"limit": _LONG_PAGE, "after_id": after or None}
        keys = shaped(call("GET", url, headers, query=query, ca=admin.ca), _AnthropicKeys, "the list of keys")
        return keys.data, (keys.last_id or "") if keys.has_more else ""

    for key in every(page):
        maker = (key.created_by.id or "") if key.created_by else ""
        yield HeldKey(
            provider="anthropic",
            id=key.id,
            name=key.name,
            kind="workspace key",
            owner=people.get(maker, maker),
            place=str((key.scope or {}).get("workspace_id") or "default workspace"),
            state=key.status,
            created_us=micros(key.created_at),
            last_used_us=used.get(key.id),
            expires_us=micros(key.expires_at),
            orphaned=bool(people) and maker.startswith("user") and maker not in people,
        )


def _people(admin: Administration, headers: Mapping[str, str]) -> Iterator[_Person]:
    url = f"{admin.base_url}/v1/organizations/users"

    def page(after: str) -> tuple[list[_Person], str]:
        query = {"limit": _LONG_PAGE, "after_id": after or None}
        found = shaped(call("GET", url, headers, query=query, ca=admin.ca), _People, "the list of people")
        return found.data, (found.last_id or "") if found.has_more else ""

    return every(page)


def _spans(
    admin: Administration, headers: Mapping[str, str], url: str, query: Mapping[str, object]
) -> Iterator[dict[str, Any]]:
    """The buckets of a usage report, as they came; those without results say nothing and are left out."""

    def page(cursor: str) -> tuple[list[dict[str, Any]], str]:
        answer = call("GET", url, headers, query={**query, "page": cursor or None}, ca=admin.ca)
        spans = shaped(answer, _Spans, "the usage report")
        return spans.data, (spans.next_page or "") if spans.has_more else ""

    return (span for span in every(page) if span.get("results"))


def _entries(
    admin: Administration, headers: Mapping[str, str], url: str, query: Mapping[str, object], cursor: str
) -> Iterator[dict[str, Any]]:
    """The entries of an audit log, as they came."""

    def page(after: str) -> tuple[list[dict[str, Any]], str]:
        answer = call("GET", url, headers, query={**query, cursor: after or None}, ca=admin.ca)
        found = shaped(answer, _Entries, "the audit log")
        return found.data, (found.last_id or "") if found.has_more else ""

    return every(page)


def _whole_hour(us: int) -> int:
    return us - us % HOUR_US


def _rfc3339(us: int) -> str:
    return to_datetime(us).strftime("%Y-%m-%dT%H:%M:%SZ")
