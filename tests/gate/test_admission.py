"""What a key may do, decided from values alone."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from jackstop.errors import Refused, UserError
from jackstop.gate.admission import Admitted, Opening, admit, open_request
from jackstop.gate.registry import KeyEntry
from jackstop.gate.source import of_peer
from jackstop.gate.wire import Head, Heads, RequestReader, WireLimits
from jackstop.keys.hours import in_hours, parse_hours
from jackstop.keys.policy import CredentialRow, KeyRow, Policy
from jackstop.settings import LedgerSettings, Settings
from tests.gate.standins import CHAT, NOW_US

CHAT_PATH = "/openai/v1/chat/completions"
PROBE = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": ""}], "max_tokens": 0}


class Known:
    """A registry with one credential for each provider."""

    def __init__(self, *, fresh: bool = True, credentials: bool = True) -> None:
        self._fresh = fresh
        self._credentials = credentials

    def fresh(self, entry: KeyEntry, now_us: int) -> bool:
        return self._fresh

    def credential_for(self, provider: str, entry: KeyEntry) -> CredentialRow | None:
        return CredentialRow("main", provider, "https://x.test", b"s") if self._credentials else None


def entry(policy: Policy | None = None, **row: Any) -> KeyEntry:
    return KeyEntry(KeyRow("k1", b"d", "o", "t", "n", policy=policy or Policy(), **row))


def head(*headers: str, path: str = CHAT_PATH, method: str = "POST", plain: bool = False) -> Head:
    reader = RequestReader(WireLimits(), Heads())
    lines = [f"{method} {path} HTTP/1.1", "Host: g"]
    if not plain:
        lines += ["Content-Type: application/json", "Content-Length: 2"]
    reader.feed("\r\n".join([*lines, *headers]).encode() + b"\r\n\r\n")
    found = reader.head()
    assert isinstance(found, Head)
    return found


def opened(
    key: KeyEntry,
    request: Head | None = None,
    *,
    ip: str = "127.0.0.1",
    now_us: int = NOW_US,
    known: Known | None = None,
    settings: Settings | None = None,
) -> Opening | Refused:
    return open_request(request or head(), key, of_peer(ip), now_us, known or Known(), settings or Settings())


def judged(key: KeyEntry, body: Any = None, settings: Settings | None = None) -> Admitted | Refused:
    opening = opened(key, settings=settings)
    assert isinstance(opening, Opening)
    return admit(opening, json.dumps(CHAT if body is None else body).encode(), settings or Settings())


def reason(found: Opening | Admitted | Refused) -> str | None:
    return found.reason if isinstance(found, Refused) else None


def would(found: Opening | Admitted | Refused) -> str | None:
    assert not isinstance(found, Refused)
    return found.would_refuse


def test_a_key_without_rules_may_do_everything() -> None:
    found = judged(entry())
    assert isinstance(found, Admitted)
    assert would(found) is None


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"state": "revoked"}, "revoked"),
        ({"state": "quarantined"}, "quarantined"),
        ({"expires_us": NOW_US}, "expired"),
        ({"expires_us": NOW_US + 1}, None),
        ({"canary": True}, "unauthorized"),
        ({"canary": True, "state": "revoked"}, "unauthorized"),
    ],
)
@pytest.mark.parametrize("mode", [None, "observe", "enforce"])
def test_the_keys_state_enforces_in_every_mode(row: dict[str, Any], expected: str | None, mode: Any) -> None:
    assert reason(opened(entry(Policy(mode=mode), **row))) == expected


def test_stale_knowledge_admits_no_one() -> None:
    assert reason(opened(entry(), known=Known(fresh=False))) == "stale"


RULES = [
    (Policy(networks=("10.0.0.0/8",)), "network"),
    (Policy(networks=("127.0.0.0/8",)), None),
    (Policy(networks=("10.0.0.0/8", "127.0.0.1/32")), None),
    (Policy(hours=("mon-tue 00:00-24:00",)), "hours"),
    (Policy(hours=("wed 11:00-12:00",)), None),
    (Policy(providers=("anthropic",)), "provider"),
    (Policy(providers=("anthropic", "openai")), None),
    (Policy(endpoints=("embeddings",)), "endpoint"),
    (Policy(endpoints=("chat.*",)), None),
]


@pytest.mark.parametrize(("policy", "expected"), RULES)
def test_what_a_person_set_enforces_unless_the_key_observes(policy: Policy, expected: str | None) -> None:
    assert reason(opened(entry(policy))) == expected
    observed = opened(entry(msgspec.structs.replace(policy, mode="observe")))
    assert would(observed) == expected


@pytest.mark.parametrize(
    ("models", "expected"),
    [(("gpt-4o*",), None), (("gpt-5", "gpt-4o-mini"), None), (("gpt-5*",), "model"), (("gpt",), "model")],
)
def test_models_are_globs(models: tuple[str, ...], expected: str | None) -> None:
    assert reason(judged(entry(Policy(models=models)))) == expected
    assert would(judged(entry(Policy(models=models, mode="observe")))) == expected


def test_the_first_rule_that_fails_is_the_one_recorded() -> None:
    policy = Policy(networks=("10.0.0.0/8",), providers=("anthropic",), models=("x",), mode="observe")
    assert would(judged(entry(policy))) == "network"


def test_probes_follow_the_organisations_mode_unless_the_key_says_otherwise() -> None:
    enforcing = msgspec.structs.replace(Settings(), mode="enforce")
    assert would(judged(entry(), PROBE)) == "probe"
    assert reason(judged(entry(), PROBE, enforcing)) == "probe"
    assert reason(judged(entry(Policy(mode="enforce")), PROBE)) == "probe"
    assert would(judged(entry(Policy(mode="observe")), PROBE, enforcing)) == "probe"


@pytest.mark.parametrize(
    ("path", "method", "expected"),
    [
        ("/nobody/v1/chat/completions", "POST", "endpoint"),
        ("/openai/v1/nothing", "POST", "endpoint"),
        ("/openai/v1/chat/completions", "DELETE", "endpoint"),
        ("/openai/v1/files", "POST", "unmetered"),
        ("/openai/v1/batches", "POST", "unmetered"),
        ("/openai/v1/audio/speech", "POST", "unmetered"),
    ],
)
def test_what_cannot_be_metered_is_refused_in_every_mode(path: str, method: str, expected: str) -> None:
    for mode in (None, "observe"):
        assert reason(opened(entry(Policy(mode=mode)), head(path=path, method=method))) == expected


def test_without_a_credential_nothing_is_forwarded() -> None:
    assert reason(opened(entry(Policy(mode="observe")), known=Known(credentials=False))) == "provider"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (("Content-Type: application/x-www-form-urlencoded", "Content-Length: 2"), 415),
        (("Content-Length: 2",), 415),
        (("Content-Type: application/json; charset=utf-16", "Content-Length: 2"), 415),
        (("Content-Type: application/json", "Content-Length: 2", "Content-Encoding: gzip"), 415),
        (("Content-Type: application/json",), 411),
        (("Content-Type: application/json; charset=UTF-8", "Content-Length: 2"), None),
        (("Content-Type: Application/JSON", "Transfer-Encoding: chunked"), None),
        (("Content-Type: application/json", "Content-Length: 2", "Content-Encoding: identity"), None),
    ],
)
def test_bodies_have_to_be_plain_json(headers: tuple[str, ...], status: int | None) -> None:
    found = opened(entry(), head(*headers, plain=True))
    assert (found.status if isinstance(found, Refused) else None) == status


def test_a_route_without_a_body_takes_none() -> None:
    found = opened(entry(), head("Content-Length: 2", path="/openai/v1/models", method="GET", plain=True))
    assert reason(found) == "malformed"
    opening = opened(entry(), head(path="/openai/v1/models", method="GET", plain=True))
    assert isinstance(opening, Opening)
    admitted = admit(opening, b"", Settings())
    assert isinstance(admitted, Admitted)
    assert (admitted.cap, admitted.ask.has_output) == (0, False)


@pytest.mark.parametrize(
    ("asked", "policy", "expected"),
    [
        (100, Policy(), (100, False)),
        (None, Policy(), (8192, True)),
        (None, Policy(max_output=50), (50, True)),
        (100, Policy(max_output=50), (50, True)),
        (20, Policy(max_output=50), (20, False)),
        (100, Policy(max_output=50, mode="observe"), (100, False)),
        (None, Policy(max_output=50, mode="observe"), (50, True)),
    ],
)
def test_the_output_cap_is_what_was_asked_for_below_the_policys_ceiling(
    asked: int | None, policy: Policy, expected: tuple[int, bool]
) -> None:
    body = {name: value for name, value in CHAT.items() if name != "max_tokens"}
    found = judged(entry(policy), body if asked is None else {**body, "max_tokens": asked})
    assert isinstance(found, Admitted)
    assert (found.cap, found.write_cap) == expected


def test_the_settings_cap_holds_where_nobody_set_one() -> None:
    settings = msgspec.structs.replace(Settings(), ledger=LedgerSettings(default_max_output=77))
    found = judged(entry(), {"model": "gpt-4o-mini", "messages": []}, settings)
    assert isinstance(found, Admitted)
    assert found.cap == 77


DAY = 1440


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("mon 08:00-18:00", [(480, 1080)]),
        ("Mon,Wed 08:00-09:30", [(480, 570), (2 * DAY + 480, 2 * DAY + 570)]),
        ("sat-mon 22:00-06:00", [(1320, 1800), (5 * DAY + 1320, 5 * DAY + 1800), (6 * DAY + 1320, 6 * DAY + 1800)]),
    ],
)
def test_hours_are_minutes_of_a_week(text: str, spans: list[tuple[int, int]]) -> None:
    assert parse_hours(text) == spans


def test_hours_without_days_are_for_every_day() -> None:
    assert len(parse_hours("08:00-18:00")) == 7


@pytest.mark.parametrize(
    "text", ["", "mon", "08:00", "moo 08:00-09:00", "25:00-26:00", "08:60-09:00", "08:00-24:01", "always"]
)
def test_other_hours_are_told_to_a_person(text: str) -> None:
    with pytest.raises(UserError):
        parse_hours(text)


def test_hours_know_the_weekday() -> None:
    minute = 60_000_000
    # NOW_US is a Wednesday, 11:06:40.
    assert in_hours(tuple(parse_hours("wed 11:06-11:07")), NOW_US)
    assert not in_hours(tuple(parse_hours("wed 11:07-11:08")), NOW_US)
    assert in_hours(tuple(parse_hours("wed 11:07-11:08")), NOW_US + minute)
    sunday_night = NOW_US + 4 * DAY * minute + 13 * 60 * minute
    assert in_hours(tuple(parse_hours("sun 23:00-01:00")), sunday_night)
    assert in_hours(tuple(parse_hours("sun 23:00-01:00")), sunday_night + 30 * minute)
    assert not in_hours(tuple(parse_hours("sun 23:00-01:00")), sunday_night + 60 * minute)
