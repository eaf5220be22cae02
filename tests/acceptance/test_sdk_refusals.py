"""Every refusal that a caller can provoke, as the official SDKs see it: their own exception, tried again or not."""

import json
import os
import secrets
import signal
import socket
import threading
from typing import NamedTuple

import anthropic
import httpx2
import openai
import pytest

from jackstop.keys import format as key_format
from tests.acceptance import callers
from tests.acceptance.books import ask_control
from tests.acceptance.callers import CHAT, CLAUDE, client, say
from tests.acceptance.system import System, free_port, until

pytestmark = pytest.mark.slow

MOST_BODY_BYTES = 200_000


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """One gate that takes small bodies and no unknown price, and credentials for providers that are not there."""
    running = System(
        tmp_path_factory.mktemp("strict"),
        environment={"JACKSTOP_GATE_MAX_BODY_BYTES": str(MOST_BODY_BYTES), "JACKSTOP_LEDGER_UNKNOWN_PRICE": "refuse"},
    )
    running.set_up()
    for provider in ("openai", "anthropic"):
        nobody = f"http://127.0.0.1:{free_port()}/{provider}"
        running.command(
            "credential", "add", f"{provider}-away", "--provider", provider, "--base-url", nobody, stdin="sk-away\n"
        )
    running.up()
    yield running
    running.close()


def chat(made, **more):
    return made.chat.completions.create(**{"model": CHAT, "max_tokens": 10, "messages": say("out=5"), **more})


def message(made, **more):
    return made.messages.create(**{"model": CLAUDE, "max_tokens": 10, "messages": say("out=5"), **more})


class Case(NamedTuple):
    """What is refused: options of the key, the two calls, and the exceptions with their statuses."""

    reason: str
    options: tuple[str, ...]
    openai: object
    anthropic: object
    raised: tuple[type[Exception], int] = (openai.PermissionDeniedError, 403)
    raised_anthropic: tuple[type[Exception], int] = (anthropic.PermissionDeniedError, 403)
    tries: int = 1


def more(**fields):
    """A call of each SDK with these fields."""
    return (lambda made: chat(made, **fields)), (lambda made: message(made, **fields))


def post(path, **options):
    return lambda made: made.post(path, body={"model": CHAT}, cast_to=object, **options)


NESTED = {"inner": {}}
for _ in range(110):
    NESTED = {"inner": NESTED}
CASES = [
    Case("network", ("--network", "10.9.8.0/24"), chat, message),
    Case("provider", ("--provider", "deepseek"), chat, message),
    Case("endpoint", (), post("/nothing/here"), post("/v1/nothing/here")),
    Case("model", ("--model", "gpt-5*", "--model", "claude-opus-*"), chat, message),
    Case("probe", ("--mode", "enforce"), *more(max_tokens=1, messages=say(words="", directives=""))),
    Case(
        "unbounded",
        (),
        lambda made: made.responses.create(model="gpt-5", input="hi", background=True),
        lambda made: message(made, tools=[{"type": "web_search_20250305", "name": "web_search"}]),
    ),
    Case(
        "unmetered",
        (),
        lambda made: made.images.generate(model="gpt-image-1", prompt="a tree"),
        lambda made: made.messages.batches.list(),
    ),
    Case("price", (), *more(model="a-model-that-nobody-lists")),
    Case(
        "budget",
        ("--budget", "0.000001usd/day"),
        chat,
        message,
        (openai.RateLimitError, 429),
        (anthropic.PaymentRequiredError, 402),
    ),
    Case(
        "malformed",
        (),
        *more(extra_body={"metadata": NESTED}),
        (openai.BadRequestError, 400),
        (anthropic.BadRequestError, 400),
    ),
    Case(
        "too_large",
        (),
        *more(messages=say(words="x" * (MOST_BODY_BYTES + 1))),
        (openai.APIStatusError, 413),
        (anthropic.ContentTooLargeError, 413),
    ),
    Case(
        "upstream",
        (),
        chat,
        message,
        (openai.InternalServerError, 502),
        (anthropic.InternalServerError, 502),
        tries=3,
    ),
]


def reached(system):
    """What the providers were asked, without the balance that Jackstop itself reads from time to time."""
    return {name: row for name, row in callers.provider_rows(system).items() if row["endpoint"] != "user.balance"}


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.reason)
def test_a_refusal_is_the_sdks_own_exception(strict, case, dialect):
    away = "away" if case.reason == "upstream" else "main"
    options = case.options if case.reason == "provider" else (*case.options, "--credential", f"{dialect}-{away}")
    key, key_id = strict.key(*options)
    make, call, (kind, status) = (
        (openai.OpenAI, case.openai, case.raised)
        if dialect == "openai"
        else (anthropic.Anthropic, case.anthropic, case.raised_anthropic)
    )
    before = reached(strict)
    with client(make, strict, key, dialect) as made, pytest.raises(kind) as raised:
        call(made)
    error = raised.value
    assert (error.status_code, callers.reason(error)) == (status, case.reason)
    assert error.response.headers.get("x-should-retry") == (None if case.tries > 1 else "false")
    assert error.response.request.headers["x-stainless-retry-count"] == str(case.tries - 1)
    assert error.message
    if dialect == "openai":
        assert error.code == ("insufficient_quota" if case.reason == "budget" else case.reason)
    elif case.reason == "budget":
        assert error.type == "billing_error"
    events = callers.events_of(strict, key_id, case.tries)
    assert len(events) == case.tries
    assert {(event["reason"], event["status"]) for event in events} == {(case.reason, status)}
    assert {event["cost_nusd"] or 0 for event in events} == {0}
    assert reached(strict) == before


# -- the key itself ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["quarantine", "revoke", "expire", "rotate"])
def test_a_key_that_was_stopped(system, act):
    key, key_id = system.key(*(["--expires", "1s"] if act == "expire" else []))
    if act != "expire":
        system.command("key", act, key_id)
    reason, kind, other = {
        "quarantine": ("quarantined", openai.PermissionDeniedError, anthropic.PermissionDeniedError),
        "revoke": ("revoked", openai.AuthenticationError, anthropic.AuthenticationError),
        "expire": ("expired", openai.AuthenticationError, anthropic.AuthenticationError),
        "rotate": ("unauthorized", openai.AuthenticationError, anthropic.AuthenticationError),
    }[act]

    def refused(make, base, kind, call):
        with client(make, system, key, base) as made:
            error = caught(lambda: call(made))
        if error is None:
            return None
        assert isinstance(error, kind)
        assert error.response.request.headers["x-stainless-retry-count"] == "0"
        return callers.reason(error)

    for make, base, expected, call in (
        (openai.OpenAI, "openai", kind, chat),
        (anthropic.Anthropic, "anthropic", other, message),
    ):
        ask = (make, base, expected, call)
        assert until(lambda ask=ask: refused(*ask), f"a refusal after {act}") == reason
    if act == "quarantine":
        system.command("key", "release", key_id)
        with client(openai.OpenAI, system, key, "openai") as made:
            assert until(lambda: chat(made).usage, "an answer after the release")


def raw_answer(system, key, path):
    """All bytes that a request with this key gets."""
    body = json.dumps({"model": CHAT, "messages": say()})
    head = f"POST {path} HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", system.port), timeout=30) as sock:
        sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        with sock.makefile("rb") as file:
            return file.read()


def test_nobody_can_tell_a_canary_from_no_key(system):
    canary, canary_id = system.key("--canary")
    key, _ = system.key()
    wrong_sum = key[:-1] + ("a" if key[-1] != "a" else "b")
    unknown = key_format.new_key(key_format.new_id()).reveal().decode()
    tried = [
        canary,
        "sk-" + canary,
        unknown,
        wrong_sum,
        "jsk_nonsense",
        secrets.token_urlsafe(40),
        "sk-proj-abc",
        "x" * 4000,
    ]
    for path in ("/openai/v1/chat/completions", "/anthropic/v1/messages", "/deepseek/nothing"):
        answers = {raw_answer(system, each, path) for each in tried}
        assert len(answers) == 1
        head, _, body = answers.pop().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 401 ")
        assert b"x-jackstop-reason: unauthorized" in head
        assert b"x-should-retry: false" in head
        error = json.loads(body)["error"]
        assert error.get("code", error["type"]) in {"invalid_api_key", "authentication_error"}
    events = callers.events_of(system, canary_id, 6)
    assert {(event["key_kind"], event["reason"], event["decision"]) for event in events} == {
        ("canary", "unauthorized", "refused")
    }
    for make, base, kind, call in (
        (openai.OpenAI, "openai", openai.AuthenticationError, chat),
        (anthropic.Anthropic, "anthropic", anthropic.AuthenticationError, message),
    ):
        with client(make, system, canary, base) as made, pytest.raises(kind) as raised:
            call(made)
        assert raised.value.response.request.headers["x-stainless-retry-count"] == "0"


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("act", ["quarantine", "revoke"])
def test_a_stopped_key_ends_its_running_streams(system, act, dialect):
    """The client sees that its answer broke off, and what was generated is paid."""
    key, key_id = system.key()
    make, call = (openai.OpenAI, chat) if dialect == "openai" else (anthropic.Anthropic, message)
    with client(make, system, key, dialect) as made:
        stream = iter(call(made, messages=say("out=400 pace_ms=40"), max_tokens=400, stream=True))
        next(stream)
        ask_control(system, f"key {act}", id=key_id)
        with pytest.raises((OSError, httpx2.HTTPError, openai.APIError, anthropic.APIError)):
            list(stream)

    def ended():
        events = callers.events_of(system, key_id)
        return [event for event in events if "stopped" in event["markers"]]

    (event,) = until(ended, "the end of the stream", 60)
    row = callers.provider_rows(system)[event["request_id"][-callers.ID_CHARS :]]
    assert event["cost_nusd"] >= -(-row["units"] // callers.UNITS_PER_NUSD)
    assert event["outcome"] == "cancelled"


# -- refusals that end by themselves ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_a_rate_is_waited_for(system, dialect):
    key, key_id = system.key("--rate", "1req/s")
    make, call = (openai.OpenAI, chat) if dialect == "openai" else (anthropic.Anthropic, message)
    with client(make, system, key, dialect, max_retries=8) as made:
        for _ in range(3):
            assert call(made).usage
    events = callers.events_of(system, key_id, 4)
    refused = [event for event in events if event["decision"] == "refused"]
    assert refused
    assert {(event["reason"], event["status"]) for event in refused} == {("rate", 429)}
    assert sum(event["decision"] == "admitted" for event in events) == 3
    with client(make, system, key, dialect, max_retries=0) as made:
        error = until(lambda: caught(lambda: call(made)), "a refusal by the rate")
    assert type(error).__name__ == "RateLimitError"
    assert callers.reason(error) == "rate"
    assert int(error.response.headers["retry-after"]) >= 1
    assert "x-should-retry" not in error.response.headers


def caught(call):
    """The SDK's exception that a call raises, None without one."""
    try:
        call()
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        return error
    return None


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_a_permit_is_waited_for(system, dialect):
    key, key_id = system.key("--concurrency", "1")
    make, call = (openai.OpenAI, chat) if dialect == "openai" else (anthropic.Anthropic, message)
    slow = {"messages": say("out=400 pace_ms=20"), "max_tokens": 400, "stream": True}
    with client(make, system, key, dialect) as made:
        stream = call(made, **slow)
        next(iter(stream))
        error = caught(lambda: call(made.with_options(max_retries=0)))
        assert error is not None
        assert (error.status_code, callers.reason(error)) == (429, "concurrency")
        assert int(error.response.headers["retry-after"]) >= 1
        freed = threading.Thread(target=lambda: list(stream))
        freed.start()
        answer = call(made.with_options(max_retries=20))
        freed.join(60)
        assert answer.usage
    events = callers.events_of(system, key_id, 3)
    assert {event["reason"] for event in events if event["decision"] == "refused"} == {"concurrency"}
    assert sum(event["decision"] == "admitted" for event in events) == 2


def test_without_control_a_gate_refuses_what_it_cannot_hold(own_system):
    system = own_system(environment={"JACKSTOP_GATE_MAX_STALENESS_S": "4"})
    system.set_up().up()
    used, _ = system.key("--name", "used")
    fresh, fresh_id = system.key("--name", "fresh")
    with client(openai.OpenAI, system, used, "openai") as made:
        chat(made)
    (control,) = system.children()["control"]
    os.kill(control, signal.SIGSTOP)
    try:
        with client(openai.OpenAI, system, used, "openai", max_retries=0) as made:
            assert chat(made).usage
        with client(openai.OpenAI, system, fresh, "openai", max_retries=0) as made:
            error = caught(lambda: chat(made))
            assert (error.status_code, callers.reason(error)) == (429, "lease")
            assert int(error.response.headers["retry-after"]) >= 1
            stale = until(lambda: (e := caught(lambda: chat(made))) and callers.reason(e) == "stale" and e, "stale")
        assert stale.status_code == 503
        assert isinstance(stale, openai.InternalServerError)
        assert int(stale.response.headers["retry-after"]) >= 1
        with client(anthropic.Anthropic, system, used, "anthropic", max_retries=0) as made:
            error = caught(lambda: message(made))
        assert isinstance(error, anthropic.OverloadedError)
        assert (error.status_code, callers.reason(error)) == (529, "stale")
    finally:
        os.kill(control, signal.SIGCONT)
    with client(openai.OpenAI, system, fresh, "openai", max_retries=20) as made:
        assert chat(made).usage
    reasons = {event["reason"] for event in callers.events_of(system, fresh_id, 3)}
    assert {"lease", "stale", ""} <= reasons


# -- observe and enforce ----------------------------------------------------------------------------------------------


def test_a_key_in_mode_observe_is_admitted_and_reported(system):
    rules = ["--network", "10.9.8.0/24", "--model", "gpt-5*", "--budget", "0.000001usd/day", "--max-output", "3"]
    key, key_id = system.key(*rules, "--mode", "observe", name="observed")
    enforced, enforced_id = system.key(*rules, name="enforced")
    by_model, by_model_id = system.key("--model", "gpt-5*", "--mode", "observe")
    by_budget, by_budget_id = system.key("--budget", "0.000001usd/day", "--mode", "observe")
    by_probe, by_probe_id = system.key()
    with client(openai.OpenAI, system, key, "openai") as made:
        ids = [callers.request_id(chat(made)) for _ in range(3)]
    for each in (by_model, by_budget):
        with client(openai.OpenAI, system, each, "openai") as made:
            assert chat(made).usage.completion_tokens == 5
    with client(openai.OpenAI, system, by_probe, "openai") as made:
        chat(made, max_tokens=1, messages=[{"role": "user", "content": ""}])
    with client(openai.OpenAI, system, enforced, "openai") as made, pytest.raises(openai.PermissionDeniedError):
        chat(made)
    events = callers.settled(system, key_id, ids)
    assert {(event["decision"], event["reason"], event["outcome"]) for event in events} == {
        ("would_refuse", "network", "ok")
    }
    assert {event["max_output_sent"] for event in events} == {10}
    rows = {(row["key_id"], row["reason"]): row for row in system.json("report", "rollout")}
    assert rows[key_id, "network"]["would_refuse"] == 3
    assert rows[key_id, "network"]["requests"] == 3
    assert rows[key_id, "network"]["name"] == "observed"
    assert rows[key_id, "network"]["cost_nusd"] == sum(event["cost_nusd"] for event in events)
    assert rows[by_model_id, "model"]["would_refuse"] == 1
    assert rows[by_budget_id, "budget"]["would_refuse"] == 1
    assert rows[by_probe_id, "probe"]["would_refuse"] == 1
    assert not [ident for ident, _ in rows if ident == enforced_id]
    assert key_id in system.command("report", "rollout")


def test_a_person_sets_rules_that_enforce_from_the_start(system):
    key, _ = system.key("--max-output", "3")
    with client(openai.OpenAI, system, key, "openai") as made:
        answer = chat(made)
    assert answer.usage.completion_tokens == 3
    assert answer.choices[0].finish_reason == "length"
