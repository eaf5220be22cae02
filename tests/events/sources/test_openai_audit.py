"""OpenAI's audit log: entries as its own SDK types them, and the events that they become."""

from __future__ import annotations

import json
import typing
from typing import Any

import pytest
from openai.types.admin.organization.audit_log_list_response import AuditLogListResponse

from jackstop.clock import US_PER_S
from jackstop.events.sources import UNREADABLE, events_of
from jackstop.events.sources.entry import Origin

NOON_S = 1_795_435_200
ORIGIN = Origin("main", "audit.main", NOON_S * US_PER_S, NOON_S * US_PER_S)
CLASSES = {"", "key_admin", "people_admin", "limit_admin", "identity", "change_logging", "change_guardrail"}
TYPES = typing.get_args(AuditLogListResponse.model_fields["type"].annotation)
ALICE = {
    "type": "session",
    "session": {
        "user": {"id": "user-1", "email": "Alice@example.com"},
        "ip_address": "198.51.100.7",
        "user_agent": "Mozilla/5.0",
    },
}
TOOL = {"type": "api_key", "api_key": {"id": "key_admin", "type": "user", "user": {"id": "user-2"}}}


def entry(kind: str, actor: Any = ALICE, **details: Any) -> dict[str, Any]:
    made = {"id": f"audit_log-{kind}", "type": kind, "effective_at": NOON_S, "actor": actor, kind: details}
    AuditLogListResponse.model_validate(made)
    return made


def read(*entries: Any) -> Any:
    return events_of("openai_audit", entries, ORIGIN)


def test_who_did_what_to_what_and_from_where() -> None:
    (event,) = read(entry("api_key.created", id="key_1", data={"scopes": ["api.model.request"]}))
    assert (event.source, event.provider, event.account) == ("openai_audit", "openai", "main")
    assert (event.action, event.action_class) == ("api_key.created", "key_admin")
    assert (event.target_kind, event.change, event.target_id) == ("api_key", "created", "key_1")
    assert (event.principal, event.principal_kind) == ("alice@example.com", "user")
    assert (event.src_ip, event.src_net, event.user_agent) == ("198.51.100.7", "198.51.100.0/24", "Mozilla/5.0")
    assert (event.outcome, event.ts, event.markers) == ("ok", NOON_S * US_PER_S, "")
    assert json.loads(event.extra) == {"scopes": ["api.model.request"]}
    assert event.raw_ref == "audit.main#audit_log-api_key.created"


def test_a_key_acts_for_somebody_and_from_nowhere() -> None:
    (event,) = read(entry("service_account.created", TOOL, id="sa_1", data={"role": "member"}))
    assert (event.principal, event.principal_kind, event.session) == ("key_admin", "api_key", "user-2")
    assert (event.src_ip, event.provider_key_id, event.markers) == ("", "key_admin", "")


@pytest.mark.parametrize(
    ("kind", "details", "markers"),
    [
        ("api_key.created", {"data": {"scopes": ["all"]}}, "admin_scope"),
        ("api_key.updated", {"changes_requested": {"scopes": ["api.management.write"]}}, "admin_scope"),
        ("api_key.updated", {"changes_requested": {"scopes": ["api.management.read"]}}, ""),
        ("invite.sent", {"data": {"email": "eve@example.com", "role": "owner"}}, "admin_role"),
        ("user.updated", {"changes_requested": {"role": "owner"}}, "admin_role"),
        ("user.added", {"data": {"role": "member"}}, ""),
    ],
)
def test_rights_over_the_whole_organization_are_marked(kind: str, details: dict[str, Any], markers: str) -> None:
    (event,) = read(entry(kind, id="x", **details))
    assert event.markers == markers


@pytest.mark.parametrize(
    ("kind", "details", "change"),
    [
        (
            "ip_allowlist.config.deactivated",
            {"configs": [{"id": "i"}]},
            ("change_guardrail", "ip_allowlist", "disabled"),
        ),
        ("ip_allowlist.deleted", {"id": "i"}, ("change_guardrail", "ip_allowlist", "deleted")),
        ("login.failed", {"error_code": "bad_password"}, ("identity", "login", "failed")),
        ("login.succeeded", {}, ("identity", "login", "succeeded")),
        ("tenant.admin_api_key.created", {}, ("key_admin", "admin_api_key", "created")),
        ("tenant.billing.overage_limit.updated", {}, ("limit_admin", "spend_limit", "updated")),
        ("workload_identity_provider.created", {"id": "w"}, ("key_admin", "federation", "created")),
        (
            "organization.updated",
            {"id": "org", "changes_requested": {"api_call_logging": "disabled"}},
            ("change_logging", "logging", "disabled"),
        ),
        (
            "organization.updated",
            {"id": "org", "changes_requested": {"api_call_logging": "enabled_per_call"}},
            ("change_logging", "logging", "updated"),
        ),
    ],
)
def test_what_was_changed_has_one_word_for_all_providers(
    kind: str, details: dict[str, Any], change: tuple[str, str, str]
) -> None:
    (event,) = read(entry(kind, **details))
    assert (event.action_class, event.target_kind, event.change) == change


def test_a_sign_in_that_failed_keeps_its_code_and_not_its_message() -> None:
    (event,) = read(entry("login.failed", error_code="bad_password", error_message="no such word: hunter2"))
    assert (event.outcome, event.error_code) == ("denied", "bad_password")
    assert "hunter2" not in str(event)
    assert json.loads(event.extra) == {"content_dropped": 1}


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_of_the_sdk_becomes_an_event(kind: str) -> None:
    made = {"id": "audit_log-1", "type": kind, "effective_at": NOON_S}
    (event,) = read(made)
    assert event.action == kind
    assert event.target_kind
    assert event.change
    assert event.action_class in CLASSES


def test_an_entry_is_one_event_however_often_and_by_whom_it_is_read() -> None:
    again = events_of("openai_audit", [entry("login.succeeded")], Origin("other", "audit.other", 1, NOON_S * US_PER_S))
    assert read(entry("login.succeeded"))[0].event_id == again[0].event_id


@pytest.mark.parametrize(
    "bad",
    [
        None,
        ["a"],
        {},
        {"id": 7, "type": "x.y", "effective_at": NOON_S},
        {"id": "a", "type": "x.y", "effective_at": "noon"},
        {"id": "a", "type": "x.y", "effective_at": 0},
        {"id": "a", "type": "x.y", "effective_at": NOON_S + 2 * 86_400},
        {"id": "", "type": "x.y", "effective_at": NOON_S},
        {"id": "a", "type": "x.y", "effective_at": NOON_S, "actor": {"session": "sk-live-0123456789abcdefghij"}},
        {"id": "a", "type": "x.y", "effective_at": NOON_S, "x.y": "sk-live-0123456789abcdefghij"},
    ],
)
def test_an_entry_that_makes_no_sense_is_set_aside_with_its_place_and_hash(bad: Any) -> None:
    good = entry("login.succeeded")
    first, second = read(good, bad)
    assert first.outcome == "ok"
    assert (second.action, second.outcome, second.raw_ref) == (UNREADABLE, "error", "audit.main#1")
    assert (second.source, second.account, second.ts) == ("openai_audit", "main", ORIGIN.from_us)
    assert second.error_message
    assert len(json.loads(second.extra)["sha256"]) == 64
    assert "sk-live" not in str(second)
    assert read(good, bad)[1].event_id == second.event_id


def test_a_secret_that_a_log_quotes_is_not_kept() -> None:
    leaky = entry("api_key.created", id="sk-proj-0123456789abcdefghijklmn", data={"scopes": ["sk-a" * 9]})
    leaky["note"] = "sk-proj-0123456789abcdefghijklmn"
    (event,) = read(leaky)
    assert "sk-proj-0123" not in str(event)
    assert event.target_id == "(not kept)"
