"""OpenAI's projects and admin keys, as an administration key may list them.

Shapes: `Project` and `AdminApiKey` of OpenAI's OpenAPI document of 2026-08-21.
"""

from __future__ import annotations

from typing import NamedTuple

from jackstop.sandbox.accounts.api import Call, page_of

_PAGE = 20
_LONGEST_PAGE = 100
_S = 1_000_000


class _Project(NamedTuple):
    id: str
    created_us: int


def projects(call: Call) -> object:
    """GET /organization/projects: those in which there is or was a key or a service account."""
    known: dict[str, int] = {}
    for key in call.accounts.keys:
        if key.provider == "openai":
            project = key.place["project"]
            known[project] = min(known.get(project, key.created_us), key.created_us)
    for provider, project, account in call.accounts.service_accounts:
        if provider == "openai":
            made_us = call.accounts.service_accounts[provider, project, account].created_us
            known[project] = min(known.get(project, made_us), made_us)
    listed = [_Project(name, made_us) for name, made_us in known.items()]
    found, more = page_of(listed, call.whole("limit", _PAGE, _LONGEST_PAGE), call.one("after"))
    data = [
        {
            "id": project.id,
            "object": "organization.project",
            "name": f"Project {project.id}",
            "created_at": project.created_us // _S,
            "archived_at": None,
            "status": "active",
        }
        for project in found
    ]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": more,
    }


def admin_keys(call: Call) -> object:
    """GET /organization/admin_api_keys: the one that asks, since none is made here."""
    owner = {
        "type": "user",
        "object": "organization.user",
        "id": "user-sandbox",
        "name": "Sandbox Owner",
        "created_at": 1_700_000_000,
        "role": "owner",
    }
    key = {
        "object": "organization.admin_api_key",
        "id": f"key_{call.exchange.credential}",
        "name": "Practice Admin Key",
        "redacted_value": "sk-admin...practice",
        "created_at": 1_700_000_000,
        "expires_at": None,
        "last_used_at": call.now_us // _S,
        "owner": owner,
    }
    first = not call.one("after")
    return {
        "object": "list",
        "data": [key] if first else [],
        "first_id": key["id"] if first else None,
        "last_id": key["id"] if first else None,
        "has_more": False,
    }
