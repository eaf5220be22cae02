"""Reading whole organisations at the practice providers; OpenAI's own document judges what is asked and answered."""

from __future__ import annotations

import json

import anthropic
import openai
import pytest

from jackstop.clock import US_PER_S
from jackstop.events import sources
from jackstop.events.sources.entry import Origin
from jackstop.providers import organisations
from tests.prism import judge

DAY_US = 86_400 * US_PER_S
HELLO = [{"role": "user", "content": "hello"}]


def read(practice, provider, admin, tmp_path, days=30):
    practice.clock.advance(3_700)
    now_us = practice.clock.now_us()
    return getattr(organisations, provider)(admin, now_us - days * DAY_US, now_us, tmp_path)


def records(found, name):
    file = next(file for file in found.files if name in file.name)
    return [json.loads(line) for line in file.read_text().splitlines()]


def chat(practice, key):
    with openai.OpenAI(base_url=f"{practice.url}/openai/v1", api_key=key["secret"]) as client:
        client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)


def message(practice, key):
    with anthropic.Anthropic(base_url=f"{practice.url}/anthropic", api_key=key["secret"]) as client:
        client.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=HELLO)


def test_an_organisation_at_openai(practice, tmp_path):
    made_us = practice.clock.now_us()
    app = practice.seed("openai", name="app", project="proj_one", service_account="sa_one")
    own = practice.seed("openai", name="a person's", project="proj_two")
    chat(practice, app)
    found = read(practice, "openai", practice.admin("openai"), tmp_path)
    assert not found.gaps
    keys = {key.id: key for key in found.keys}
    assert {key.place for key in keys.values()} == {"Project proj_one", "Project proj_two", "organisation"}
    assert keys[app["id"]].kind == "project key"
    assert keys[app["id"]].state == "active"
    assert abs(keys[app["id"]].created_us - (made_us - DAY_US)) < 2 * US_PER_S  # a seeded key is a day old
    assert abs(keys[app["id"]].last_used_us - made_us) < 2 * US_PER_S
    assert keys[own["id"]].owner == "owner@example.com"
    assert keys[own["id"]].last_used_us is None
    assert [key.owner for key in found.keys if key.kind == "admin key"] == ["Sandbox Owner"]
    (bucket,) = records(found, "usage-completions")
    (result,) = bucket["results"]
    assert (result["api_key_id"], result["project_id"], result["num_model_requests"]) == (app["id"], "proj_one", 1)
    for file in found.files:
        assert app["secret"] not in file.read_text()


def test_an_organisation_at_anthropic(practice, tmp_path):
    app = practice.seed("anthropic", name="app", workspace="wrkspc_one")
    message(practice, app)
    found = read(practice, "anthropic", practice.admin("anthropic"), tmp_path)
    assert not found.gaps
    (key,) = found.keys
    assert (key.id, key.owner, key.place, key.state) == (app["id"], "owner@example.com", "wrkspc_one", "active")
    (bucket,) = records(found, "anthropic-usage")
    (result,) = bucket["results"]
    assert (result["api_key_id"], result["model"]) == (app["id"], "claude-haiku-4-5-20251001")


def test_audit_entries_are_read_as_their_source_reads_them(practice, tmp_path):
    practice.seed("openai", name="app", project="proj_one", service_account="sa_one")
    admin = practice.admin("openai")
    with openai.OpenAI(base_url=admin.base_url, api_key="none", admin_api_key=admin.secret.reveal().decode()) as client:
        client.admin.organization.projects.service_accounts.create("proj_one", name="new")
    found = read(practice, "openai", admin, tmp_path)
    entries = records(found, "audit-log")
    events = sources.events_of("openai_audit", entries, Origin("main", "log", 0, practice.clock.now_us()))
    assert "service_account.created" in {event.action for event in events}


def test_what_may_not_be_read_is_a_gap_and_the_rest_goes_on(practice, tmp_path):
    practice.mode(audit=0)
    practice.seed("openai", name="app", project="proj_one")
    found = read(practice, "openai", practice.admin("openai"), tmp_path)
    assert [gap.what for gap in found.gaps] == ["audit log"]
    assert "switched on" in found.gaps[0].needs
    assert [key.name for key in found.keys if key.kind == "project key"] == ["app"]


def test_with_a_key_that_may_nothing_everything_is_a_gap(practice, tmp_path):
    admin = practice.admin("openai", secret="sk-proj-not-an-admin-key")
    found = read(practice, "openai", admin, tmp_path)
    assert not found.keys
    assert not found.files
    assert {gap.what for gap in found.gaps} >= {"keys of projects", "admin keys", "usage completions", "audit log"}
    assert "not-an-admin-key" not in repr(found.gaps)


@pytest.mark.slow
def test_openai_s_document_allows_what_is_asked_and_answered(practice, tmp_path):
    app = practice.seed("openai", name="app", project="proj_one", service_account="sa_one")
    chat(practice, app)
    with judge("openai.admin.subset.json", f"{practice.url}/openai/v1", tmp_path / "log") as url:
        found = read(practice, "openai", practice.admin("openai", url), tmp_path)
    assert not [gap for gap in found.gaps if gap.what != "audit log"]
    assert records(found, "usage-completions")
