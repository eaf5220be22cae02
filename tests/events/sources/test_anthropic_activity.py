"""Anthropic's Activity Feed: entries as the vendor's page shows them, and the events that they become."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jackstop.clock import US_PER_S
from jackstop.events.sources import UNREADABLE, events_of
from jackstop.events.sources.entry import Origin

NOON_US = 1_795_435_200 * US_PER_S
ORIGIN = Origin("main", "audit.main", NOON_US, NOON_US)
ALICE = {
    "type": "user_actor",
    "email_address": "Alice@example.com",
    "user_id": "user_01",
    "ip_address": "192.0.2.34",
    "user_agent": "Mozilla/5.0",
}


def entry(kind: str, actor: Any = ALICE, **details: Any) -> dict[str, Any]:
    return {
        "id": f"activity_{kind}",
        "created_at": "2026-11-23T11:59:59.5Z",
        "organization_id": "org_1",
        "organization_uuid": "00000000-0000-4000-8000-000000000000",
        "actor": actor,
        "type": kind,
        **details,
    }


def read(*entries: Any) -> Any:
    return events_of("anthropic_activity", entries, ORIGIN)


def test_who_did_what_to_what_and_from_where() -> None:
    (event,) = read(entry("admin_api_key_created", admin_api_key_id="admin_api_key_1", scopes=["read:usage"]))
    assert (event.source, event.provider, event.account) == ("anthropic_activity", "anthropic", "main")
    assert (event.action_class, event.target_kind, event.change) == ("key_admin", "admin_api_key", "created")
    assert (event.target_id, event.markers) == ("admin_api_key_1", "")
    assert (event.principal, event.principal_kind) == ("alice@example.com", "user")
    assert (event.src_ip, event.src_net, event.ts) == ("192.0.2.34", "192.0.2.0/24", NOON_US - US_PER_S // 2)
    assert json.loads(event.extra)["organization_id"] == "org_1"


@pytest.mark.parametrize(
    ("actor", "principal", "kind"),
    [
        ({"type": "api_actor", "api_key_id": "apikey_1", "ip_address": "192.0.2.1"}, "apikey_1", "api_key"),
        ({"type": "admin_api_key_actor", "admin_api_key_id": "admin_api_key_1"}, "admin_api_key_1", "api_key"),
        ({"type": "unauthenticated_user_actor", "unauthenticated_email_address": "Eve@x.org"}, "eve@x.org", "user"),
        ({"type": "service_account_actor", "service_account_id": "sa_1"}, "sa_1", "service_account"),
        ({"type": "scim_directory_sync_actor", "directory_id": "dir_1"}, "dir_1", "scim_directory_sync"),
        ({"type": "anthropic_actor", "email_address": None}, "", "anthropic"),
        ({"type": "an_actor_of_tomorrow_actor"}, "", "an_actor_of_tomorrow"),
        (None, "", ""),
    ],
)
def test_everybody_who_acts(actor: Any, principal: str, kind: str) -> None:
    (event,) = read(entry("platform_api_key_created", actor, api_key_id="apikey_9"))
    assert (event.principal, event.principal_kind, event.target_id) == (principal, kind, "apikey_9")


@pytest.mark.parametrize(
    ("kind", "details", "change"),
    [
        ("workspace_spend_limit_deleted", {"workspace_id": "w"}, ("limit_admin", "spend_limit", "deleted")),
        ("platform_spend_limit_updated", {"ignore": True}, ("limit_admin", "spend_limit", "disabled")),
        ("platform_spend_limit_updated", {"ignore": False}, ("limit_admin", "spend_limit", "updated")),
        ("org_ip_restriction_deleted", {}, ("change_guardrail", "ip_allowlist", "deleted")),
        ("org_sso_toggled", {"enabled": False}, ("change_guardrail", "sso", "disabled")),
        ("org_sso_toggled", {"is_enabled": "false"}, ("change_guardrail", "sso", "disabled")),
        ("org_sso_toggled", {"enabled": True}, ("change_guardrail", "sso", "updated")),
        (
            "org_compliance_api_settings_updated",
            {"compliance_api_enabled": True, "compliance_api_logging_enabled": False},
            ("change_logging", "logging", "disabled"),
        ),
        ("sso_login_failed", {}, ("identity", "login", "failed")),
        ("something_new_listed", {}, ("read_config", "something_new", "listed")),
        ("claude_chat_created", {"claude_chat_id": "c"}, ("", "claude_chat", "created")),
        ("word", {}, ("", "", "word")),
    ],
)
def test_what_was_changed_has_one_word_for_all_providers(
    kind: str, details: dict[str, Any], change: tuple[str, str, str]
) -> None:
    (event,) = read(entry(kind, **details))
    assert (event.action_class, event.target_kind, event.change) == change
    assert event.outcome == ("denied" if kind == "sso_login_failed" else "ok")


@pytest.mark.parametrize(
    ("kind", "details", "markers"),
    [
        ("org_user_invite_sent", {"invited_email": "eve@x.org", "invited_role": "admin"}, "admin_role"),
        ("org_user_invite_sent", {"invited_email": "eve@x.org", "invited_role": "user"}, ""),
        ("claude_user_role_updated", {"user_id": "u", "previous_role": "user", "current_role": "owner"}, "admin_role"),
        ("api_key_created", {"api_key_id": "k", "scopes": ["write:spend_limits"]}, "admin_scope"),
        ("api_key_created", {"api_key_id": "k", "scopes": ["read:usage", 7]}, ""),
    ],
)
def test_rights_over_the_whole_organization_are_marked(kind: str, details: dict[str, Any], markers: str) -> None:
    (event,) = read(entry(kind, **details))
    assert event.markers == markers
    assert event.target_id in {"eve@x.org", "u", "k"}


def test_a_reading_of_the_feed_keeps_neither_its_url_nor_its_body() -> None:
    actor = {"type": "api_actor", "api_key_id": "apikey_1"}
    details = {"url": "https://x/?key=hunter2", "request_body": {"a": "hunter2"}, "status_code": 403, "api_key_id": "a"}
    (event,) = read(entry("compliance_api_accessed", actor, request_method="GET", **details))
    assert (event.status, event.outcome, event.target_id) == (403, "denied", "")
    assert "hunter2" not in str(event)
    assert json.loads(event.extra)["content_dropped"] == 3


@pytest.mark.parametrize(
    "bad",
    [
        {"id": "a", "type": "t"},
        {"id": "a", "type": "t", "created_at": "yesterday"},
        {"id": "a", "type": "t", "created_at": "1969-01-01T00:00:00Z"},
        {"id": "a", "type": "t", "created_at": "2026-11-23T11:00:00Z", "actor": {"type": "x", "ip_address": 7}},
        {"id": "a\nb", "type": "t", "created_at": "2026-11-23T11:00:00Z"},
    ],
)
def test_an_entry_that_makes_no_sense_is_set_aside(bad: Any) -> None:
    (event,) = read(bad)
    assert (event.action, event.outcome) == (UNREADABLE, "error")


def test_times_without_a_zone_are_utc_and_addresses_that_are_none_are_left_out() -> None:
    actor = {**ALICE, "ip_address": "not an address", "user_agent": ""}
    (event,) = read({**entry("user_logged_out", actor), "created_at": "2026-11-23T11:59:59"})
    assert (event.ts, event.src_ip, event.ua_state) == (NOON_US - US_PER_S, "", "empty")
