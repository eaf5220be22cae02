"""Usage and costs as the practice providers publish them: late, by key and minute, and equal to the bill in the end."""

from __future__ import annotations

import openai
import pytest

from tests.sandbox.practice import HELLO, NOON_US

NOON = NOON_US // 1_000_000
MINUTE = 60
ADMIN = {"x-api-key": "sk-ant-admin01-practice"}
REPORT = "/anthropic/v1/organizations/usage_report/messages?starting_at=2026-11-23T12:00:00Z&bucket_width=1m"


@pytest.fixture
def usage(practice):
    return practice.openai_admin().usage


def ask(practice, key="sk-used", model="gpt-4o-mini", **more):
    return practice.openai(key).chat.completions.create(model=model, messages=HELLO, **more)


def results(answer):
    return [(bucket.start_time, result) for bucket in answer.data for result in bucket.results]


def test_a_minute_shows_once_it_is_published(practice, usage):
    used = ask(practice).usage
    for advance, shown in ((59, 0), (59, 0), (2, 1)):
        practice.clock.advance(advance)
        found = results(usage.completions(start_time=NOON, bucket_width="1m"))
        assert len(found) == shown
    start, result = found[0]
    assert (start, result.num_model_requests) == (NOON, 1)
    assert (result.input_tokens, result.input_cached_tokens) == (used.prompt_tokens, 2)
    assert result.output_tokens == used.completion_tokens
    assert (result.api_key_id, result.model) == (None, None)


def test_the_delay_is_set(practice, usage):
    practice.mode(publish_after_s=900)
    ask(practice)
    practice.clock.advance(MINUTE + 899)
    assert not results(usage.completions(start_time=NOON, bucket_width="1m"))
    practice.clock.advance(1)
    assert results(usage.completions(start_time=NOON, bucket_width="1m"))


def test_a_bucket_may_grow(practice, usage):
    practice.mode(publish_after_s=0, revise=120)
    for _ in range(4):
        ask(practice)
    practice.clock.advance(MINUTE)
    (_, half), *_ = results(usage.completions(start_time=NOON, bucket_width="1m"))
    practice.clock.advance(120)
    (_, whole), *_ = results(usage.completions(start_time=NOON, bucket_width="1m"))
    assert (half.num_model_requests, whole.num_model_requests) == (2, 4)
    assert half.output_tokens * 2 == whole.output_tokens == 40


def test_groups_name_keys_projects_and_models(practice, usage):
    practice.mode(publish_after_s=0)
    seeded = practice.seed("openai", "sk-seeded", project="proj_a")
    ask(practice, "sk-seeded")
    ask(practice, "sk-seeded", "gpt-5-mini", service_tier="priority")
    ask(practice, "sk-stranger")
    practice.openai("sk-seeded").embeddings.create(model="text-embedding-3-small", input="four")
    practice.clock.advance(MINUTE)
    groups = ["api_key_id", "model", "project_id", "service_tier", "batch"]
    found = results(usage.completions(start_time=NOON, bucket_width="1m", group_by=groups))
    assert {(r.api_key_id == seeded["id"], r.model, r.project_id, r.service_tier, r.batch) for _, r in found} == {
        (True, "gpt-4o-mini-2024-07-18", "proj_a", "default", False),
        (True, "gpt-5-mini-2025-08-07", "proj_a", "priority", False),
        (False, "gpt-4o-mini-2024-07-18", "proj_sandbox", "default", False),
    }
    only = results(usage.completions(start_time=NOON, bucket_width="1m", api_key_ids=[seeded["id"]]))
    assert [r.num_model_requests for _, r in only] == [2]
    (_, embedded), *_ = results(usage.embeddings(start_time=NOON, bucket_width="1m", group_by=["api_key_id"]))
    assert (embedded.api_key_id, embedded.input_tokens, embedded.num_model_requests) == (seeded["id"], 1, 1)


def test_pages_hold_so_many_buckets_and_cover_all(practice, usage):
    practice.mode(publish_after_s=0)
    for _ in range(5):
        ask(practice)
        practice.clock.advance(MINUTE)
    seen, page = [], openai.omit
    while True:
        answer = usage.completions(start_time=NOON, bucket_width="1m", limit=2, page=page)
        assert len(answer.data) <= 2
        seen += results(answer)
        if not answer.has_more:
            break
        page = answer.next_page
    assert [start for start, _ in seen] == [NOON + MINUTE * number for number in range(5)]


def test_empty_buckets_are_shown_and_the_end_is_not(practice, usage):
    practice.clock.advance(600)
    answer = usage.completions(start_time=NOON, end_time=NOON + 3 * MINUTE, bucket_width="1m")
    assert [bucket.start_time for bucket in answer.data] == [NOON, NOON + MINUTE, NOON + 2 * MINUTE]
    assert not results(answer)


@pytest.mark.parametrize(
    "wrong",
    [
        {"bucket_width": "1m", "limit": 1_441},
        {"bucket_width": "1h", "limit": 169},
        {"bucket_width": "1d", "limit": 32},
        {"bucket_width": "2m"},
        {"group_by": ["line_item"]},
        {"page": "page_nonsense"},
        {"end_time": NOON - 1},
    ],
)
def test_wrong_questions_are_refused(usage, wrong):
    with pytest.raises(openai.BadRequestError):
        usage.completions(start_time=NOON, **wrong)


def test_hours_and_days_add_up(practice, usage):
    practice.mode(publish_after_s=0)
    for _ in range(3):
        ask(practice)
        practice.clock.advance(1_800)
    hours = results(usage.completions(start_time=NOON, bucket_width="1h"))
    assert [result.num_model_requests for _, result in hours] == [2, 1]
    days = results(usage.completions(start_time=NOON))
    assert [(start, result.num_model_requests) for start, result in days] == [(NOON - 12 * 3_600, 3)]


def test_costs_are_the_bill(practice, usage):
    practice.mode(publish_after_s=0)
    seeded = practice.seed("openai", "sk-seeded", project="proj_a")
    ask(practice, "sk-seeded", "gpt-5")
    practice.clock.advance(MINUTE)
    ((_, cost),) = results(usage.costs(start_time=NOON, group_by=["api_key_id", "project_id"]))
    assert (cost.api_key_id, cost.project_id, cost.amount.currency) == (seeded["id"], "proj_a", "usd")
    units = sum(row["units"] for row in practice.get("/_sandbox/requests"))
    assert cost.amount.value == pytest.approx(units / 1e15)
    with pytest.raises(openai.BadRequestError):
        usage.costs(start_time=NOON, extra_query={"bucket_width": "1h"})


def test_a_refused_request_is_not_used(practice, usage):
    practice.mode(publish_after_s=0)
    with pytest.raises(openai.NotFoundError):
        ask(practice, model="gpt-none")
    practice.clock.advance(MINUTE)
    assert not results(usage.completions(start_time=NOON, bucket_width="1m"))


def test_anthropics_report_keeps_the_caches_apart(practice):
    practice.mode(publish_after_s=0)
    key = practice.seed("anthropic", "sk-ant-api03-used", workspace="wrkspc_1")
    content = "Good morning [[sandbox: cached=4 cache_write=3 cache_write_1h=2 out=33]]"
    answer = practice.anthropic("sk-ant-api03-used").messages.create(
        model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": content}]
    )
    practice.clock.advance(MINUTE)
    grouped = "".join(f"&group_by[]={name}" for name in ("api_key_id", "workspace_id", "model", "service_tier"))
    status, report = practice.call("GET", REPORT + grouped, headers=ADMIN)
    assert status == 200
    ((result,),) = [bucket["results"] for bucket in report["data"] if bucket["results"]]
    assert result == {
        "uncached_input_tokens": answer.usage.input_tokens,
        "cache_read_input_tokens": 4,
        "cache_creation": {"ephemeral_1h_input_tokens": 2, "ephemeral_5m_input_tokens": 3},
        "output_tokens": 33,
        "server_tool_use": {"web_search_requests": 0},
        "api_key_id": key["id"],
        "workspace_id": "wrkspc_1",
        "model": "claude-haiku-4-5-20251001",
        "service_tier": "standard",
        "context_window": None,
    }
    start = report["data"][0]
    assert (start["starting_at"], start["ending_at"]) == ("2026-11-23T12:00:00Z", "2026-11-23T12:01:00Z")


def test_anthropics_report_is_late_too_and_filters(practice):
    practice.anthropic("sk-ant-api03-stranger").messages.create(
        model="claude-haiku-4-5", max_tokens=100, messages=HELLO
    )
    practice.clock.advance(2 * MINUTE - 1)
    assert not any(b["results"] for b in practice.call("GET", REPORT, headers=ADMIN)[1]["data"])
    practice.clock.advance(1)
    page = practice.call("GET", f"{REPORT}&limit=1&group_by[]=api_key_id", headers=ADMIN)[1]
    assert page["has_more"]
    key_id = page["data"][0]["results"][0]["api_key_id"]
    assert key_id.startswith("apikey_")
    assert not practice.call("GET", f"{REPORT}&api_key_ids[]=apikey_other&limit=1", headers=ADMIN)[1]["data"][0][
        "results"
    ]
    second = practice.call("GET", f"{REPORT}&limit=1&page={page['next_page']}", headers=ADMIN)[1]
    assert second["data"][0]["starting_at"] == "2026-11-23T12:01:00Z"
    assert practice.call("GET", REPORT + "&limit=1441", headers=ADMIN)[0] == 400


def test_anthropics_costs_are_cents_in_words(practice):
    practice.mode(publish_after_s=0)
    practice.anthropic("sk-ant-api03-x").messages.create(model="claude-haiku-4-5", max_tokens=100, messages=HELLO)
    practice.clock.advance(MINUTE)
    path = "/anthropic/v1/organizations/cost_report?starting_at=2026-11-23T00:00:00Z&group_by[]=description"
    ((cost,),) = [bucket["results"] for bucket in practice.call("GET", path, headers=ADMIN)[1]["data"]]
    units = sum(row["units"] for row in practice.get("/_sandbox/requests"))
    assert float(cost["amount"]) == pytest.approx(units / 1e13, abs=1e-8)
    assert cost["model"] == "claude-haiku-4-5-20251001"
