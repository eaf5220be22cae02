"""Providers without an administration API, and what every driver says of itself."""

from __future__ import annotations

import socket

import pytest

from jackstop.providers.drivers import driver
from jackstop.providers.drivers.answers import MOST_PAGES, every, nusd
from jackstop.providers.drivers.deepseek import balance
from jackstop.providers.drivers.driver import Administration, CallFailed
from jackstop.secret import Secret

ASSISTED = ["deepseek", "groq", "together"]
OWN = [*ASSISTED, "openai", "anthropic", "openrouter", "xai", "mistral"]


@pytest.mark.parametrize("name", ASSISTED)
def test_only_whether_a_secret_works_can_be_asked(practice, name):
    found = driver(name)
    assert (found.kind, found.verbs, found.name) == ("assisted", frozenset(), name)
    key = practice.seed(name)
    provider = name if name == "deepseek" else "openai"
    assert found.verify(provider, practice.base_url(name), {}, Secret(key["secret"])) == "works"
    nobody = Administration(name, practice.url, {}, Secret("x"))
    for call in (
        lambda: found.list(nobody, {}),
        lambda: found.create(nobody, {}, "jackstop-1", beside="", expires_s=None),
        lambda: found.disable(nobody, {}, "key"),
        lambda: found.enable(nobody, {}, "key"),
        lambda: found.delete(nobody, {}, "key", keep=""),
    ):
        with pytest.raises(CallFailed, match=f"{name} has no API"):
            call()


def test_deepseek_s_balance_falls_by_what_was_spent(practice):
    key = practice.seed("deepseek")
    secret = Secret(key["secret"])
    before = balance(practice.base_url("deepseek"), secret)
    practice.openai("deepseek", key["secret"]).chat.completions.create(
        model="deepseek-v4-pro",
        messages=[{"role": "user", "content": "[[sandbox: out=90000]] Hello"}],
        max_tokens=90_000,
    )
    after = balance(practice.base_url("deepseek"), secret)
    assert before.keys() == after.keys() == {"USD"}
    # The API tells it in whole cents.
    billed = sum(line["cost_nusd"] for line in practice.bill())
    assert before["USD"] - after["USD"] == pytest.approx(billed, abs=10_000_000)


@pytest.mark.parametrize("name", OWN)
def test_each_verb_has_a_source_and_the_permission_is_said(name):
    found = driver(name)
    wanted = {*found.verbs, "verify"}
    wanted |= {verb for verb in ("usage", "costs", "limits", "set_limit", "audit") if hasattr(found, verb)}
    assert wanted <= set(found.sources)
    assert found.permission
    assert found.base_url.startswith("https://")


@pytest.mark.parametrize("name", OWN)
def test_a_provider_that_is_not_there_says_nothing_about_a_secret(name):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert driver(name).verify("openai", f"http://127.0.0.1:{port}", {}, Secret("sk-x")) == "unsure"


@pytest.mark.parametrize("name", ["openai", "anthropic", "openrouter", "xai", "mistral"])
def test_no_secret_shows_when_an_administration_fails(practice, name):
    place = {"project": "proj_one", "workspace": "wsp_one", "team": "team_one", "service_account": "sa_one"}
    secret = "no-administration-key-\n-of-anybody"
    for text in (secret, secret.replace("\n", "")):
        admin = practice.admin(name, at=f"{practice.url}/nowhere", secret=text)
        with pytest.raises(CallFailed) as caught:
            driver(name).list(admin, place)
        assert "administration-key" not in f"{caught.value} {caught.value.problem} {admin!r} {caught.value.__cause__}"


def test_pages_that_do_not_end_are_said():
    with pytest.raises(CallFailed, match="circle"):
        list(every(lambda _: ([1], "same")))
    pages = iter(range(MOST_PAGES + 1))
    with pytest.raises(CallFailed, match="more than"):
        list(every(lambda _: ([1], str(next(pages) + 1))))


def test_money_is_whole():
    assert nusd("0.06") == 60_000_000
    assert nusd("123.45", 10_000_000) == 1_234_500_000
    for wrong in ("money", "nan", "inf"):
        with pytest.raises(CallFailed):
            nusd(wrong)
