"""The page for a provider's new key: the console over a real socket, before control's own commands and a store."""

from __future__ import annotations

import asyncio
import io
import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPMessage, HTTPResponse
from typing import Any

import pytest

from jackstop.console.serve import serve
from jackstop.console.visits import VISIT_S
from jackstop.control.commands import run
from jackstop.control.protocol import Reply
from jackstop.rotation import invitation
from jackstop.settings import Home, Settings
from jackstop.store.engine import Store
from jackstop.vault.credentials import load_pepper, question_key
from tests.acceptance.system import free_port, until
from tests.console.test_console import Browser
from tests.control.rotation_bench import FRESH, OLD, SECRETS, STANDBY, RotationDesk

DAY_S = 86_400
WHO = "holder@example.com"


class Page(Browser):
    """A browser on the page for a new key."""

    headers: HTTPMessage

    def ask(self, method: str, path: str, form: Any = None, headers: Any = None) -> tuple[HTTPResponse, str]:
        answer, text = super().ask(method, path, form, headers)
        self.seen = [*getattr(self, "seen", []), str(answer.headers) + text]
        return answer, text

    def open(self, token: str) -> tuple[HTTPResponse, str]:
        """Press the button behind the link, and see where that leads."""
        answer, text = self.ask("POST", f"/new-key/{token}", {})
        return self.ask("GET", "/new-key") if answer.status == 303 else (answer, text)

    def form_token(self) -> str:
        found = re.search(r'name="form" value="(\w+)"', self.ask("GET", "/new-key")[1])
        assert found
        return found[1]

    def bring(self, secret: str, key_id: str = "", **more: Any) -> tuple[HTTPResponse, str]:
        return self.ask("POST", "/new-key", {"form": self.form_token(), "secret": secret, "key_id": key_id}, **more)


class Rig:
    """A console in a thread of its own, before a store with one rotation that waits for a person."""

    def __init__(self, store: Store, home: Home) -> None:
        self.port = free_port()
        self.desk = RotationDesk(store, home, Settings(console=f"127.0.0.1:{self.port}"))
        self.desk.rules(watch_s=0, wait_s=0)
        self.desk.kept(driver="anthropic", provider="anthropic")
        self.desk.run("credential rotate", name="main")
        self.desk.record(self.desk.one(), detail={"old_id": "key_old", "known": ["key_old"]})
        assert self.desk.take() == []
        self.calls: list[str] = []
        self.page = Page(self.port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        until(self._answers, "the console")

    async def run(self, name: str, args: dict[str, Any]) -> Reply:
        self.calls.append(name)
        return run(replace(self.desk.context, actor="console"), name, args)

    def _work(self) -> None:
        with self.desk.store.begin() as conn:
            key = question_key(load_pepper(conn, self.desk.vault))
        served = serve(
            self.desk.settings,
            self.run,
            self.desk.clock,
            is_token=lambda _: False,
            is_invited=lambda token: invitation.meant_by(key, token) is not None,
        )
        self._task = self._loop.create_task(served)
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.close()

    def _answers(self) -> bool:
        try:
            return bool(self.page.ask("GET", "/healthz")[0].status == 200)
        except OSError:
            return False

    def token(self) -> str:
        link = str(self.desk.run("invitation make", name="main", to=WHO)["link"])
        assert link.startswith(f"http://localhost:{self.port}/new-key/")
        return link.rpartition("/")[2]

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def rig(store: Store, home: Home) -> Iterator[Rig]:
    made = Rig(store, home)
    yield made
    made.stop()


@pytest.fixture
def page(rig: Rig) -> Page:
    return rig.page


def test_opening_the_link_begins_nothing_and_uses_nothing_up(rig: Rig, page: Page) -> None:
    token = rig.token()
    for _ in range(2):
        answer, text = page.ask("GET", f"/new-key/{token}")
        assert (answer.status, token in text, page.cookie) == (200, False, "")
    assert rig.calls == []
    assert page.open(token)[0].status == 200


def test_a_person_reads_what_is_asked_and_brings_the_key(rig: Rig, page: Page) -> None:
    token = rig.token()
    answer, text = page.open(token)
    assert answer.status == 200
    assert "HttpOnly" in page.cookie_line
    assert "SameSite=strict" in page.cookie_line
    assert "Path=/new-key" in page.cookie_line
    for shown in ("main", "anthropic", "key_old", 'type="password"'):
        assert shown in text
    assert token not in text
    assert OLD not in text
    answer, _ = page.bring(FRESH, "key_new")
    assert (answer.status, answer.headers["location"]) == (303, "/new-key/brought")
    brought = page.ask("GET", "/new-key/brought")[1]
    assert "is being tested" in brought
    assert 'http-equiv="refresh"' in brought
    verify = rig.desk.one()
    assert (verify["step"], verify["fresh"], verify["detail"]["new_id"]) == ("verify", FRESH, "key_new")
    rig.desk.record(verify)
    rig.desk.finish()
    assert rig.desk.fed().secret == FRESH.encode()
    shown = page.ask("GET", "/new-key/brought")[1]
    assert "the key works" in shown
    assert "refresh" not in shown


def test_a_link_is_good_once(rig: Rig, page: Page) -> None:
    token = rig.token()
    other = Page(rig.port)
    other.open(token)
    late = other.form_token()
    page.open(token)
    before = page.cookie
    assert page.bring(FRESH)[0].status == 303
    page.cookie = before
    assert page.ask("GET", "/new-key")[0].status == 403
    answer, text = other.ask("POST", "/new-key", {"form": late, "secret": STANDBY})
    assert (answer.status, "The link was used" in text) == (410, True)
    assert page.open(token)[0].status == 410
    assert rig.desk.one()["fresh"] == FRESH


def test_a_refused_key_needs_a_new_link(rig: Rig, page: Page) -> None:
    token = rig.token()
    page.open(token)
    page.bring(FRESH)
    rig.desk.record(rig.desk.one(), "refused", problem="the provider refuses the new secret")
    assert rig.desk.take() == []
    told = page.ask("GET", "/new-key/brought")[1]
    assert "The provider refuses the key" in told
    assert "brought for main" in told
    stranger = Page(rig.port).ask("GET", "/new-key/brought")[1]
    assert "brought for main" not in stranger
    answer, text = page.open(token)
    assert (answer.status, "The link was used" in text) == (410, True)
    assert page.open(rig.token())[0].status == 200
    assert page.bring(STANDBY)[0].status == 303
    assert rig.desk.one()["fresh"] == STANDBY


def test_an_old_link_opens_nothing_and_a_visit_does_not_outlive_it(rig: Rig, page: Page) -> None:
    token = rig.token()
    rig.desk.clock.advance(DAY_S - VISIT_S / 2)
    page.open(token)
    form = page.form_token()
    rig.desk.clock.advance(VISIT_S / 2)
    answer, text = page.ask("POST", "/new-key", {"form": form, "secret": FRESH})
    assert (answer.status, "The link is too old" in text) == (410, True)
    assert page.open(token)[0].status == 410
    assert rig.desk.latest()["step"] == "ask"


def test_a_visit_ends_by_itself(rig: Rig, page: Page) -> None:
    page.open(rig.token())
    form = page.form_token()
    rig.desk.clock.advance(VISIT_S)
    assert page.ask("POST", "/new-key", {"form": form, "secret": FRESH})[0].status == 403
    assert "invitation bring" not in rig.calls


def test_once_another_brought_a_key_the_page_says_that_none_is_needed(rig: Rig, page: Page) -> None:
    token = rig.token()
    page.open(token)
    form = page.form_token()
    rig.desk.run("credential rotate", name="main", secret=FRESH)
    rig.desk.finish()
    for answer, text in (
        page.ask("GET", "/new-key"),
        page.ask("POST", "/new-key", {"form": form, "secret": STANDBY}),
        page.open(token),
    ):
        assert (answer.status, "no longer needed" in text) == (410, True)
    assert rig.desk.fed().secret == FRESH.encode()


def test_a_wrong_token_gets_the_bytes_of_one_that_never_was_and_causes_no_work(rig: Rig, page: Page) -> None:
    token = rig.token()
    uid, number, mac = token.split("-", 2)
    wrong = [f"{uid}-{number}-{mac[:-2]}xx", f"{uid}-2-{mac}", f"{'0' * 16}-1-{mac}", "nonsense", "1-2-3", "brought2"]
    seen = []
    for each in wrong:
        answer, text = page.ask("POST", f"/new-key/{each}", {})
        kept = sorted((name, value) for name, value in answer.headers.items() if name != "date")
        seen.append((answer.status, kept, text))
    assert seen[0][0] == 404
    assert all(each == seen[0] for each in seen)
    assert rig.calls == []
    assert page.cookie == ""


@pytest.mark.parametrize(
    ("form", "headers", "status"),
    [
        ({"secret": FRESH, "form": "0" * 64}, {}, 403),
        ({"secret": FRESH}, {}, 403),
        ({"secret": FRESH}, {"origin": "https://evil.example"}, 403),
        ({"secret": FRESH}, {"origin": "null"}, 403),
        ({"secret": "x" * 40_000}, {}, 413),
    ],
)
def test_a_form_of_another_site_brings_nothing(
    rig: Rig, page: Page, form: dict[str, str], headers: dict[str, str], status: int
) -> None:
    page.open(rig.token())
    assert page.ask("POST", "/new-key", form, headers)[0].status == status
    assert page.bring(FRESH, headers={"origin": "https://evil.example"})[0].status == 403
    assert "invitation bring" not in rig.calls
    assert rig.desk.latest()["step"] == "ask"


def test_another_site_signs_nobody_in(rig: Rig, page: Page) -> None:
    answer, _ = page.ask("POST", f"/new-key/{rig.token()}", {}, {"origin": "https://evil.example"})
    assert (answer.status, page.cookie) == (403, "")


@pytest.mark.parametrize(
    ("secret", "key_id", "said"),
    [
        ("two words", "", "it has spaces or odd characters"),
        (f"{FRESH} {STANDBY}", "", "it has spaces or odd characters"),
        ("sk-\u00fcmlaut", "", "odd characters"),
        ("y" * 8_193, "", "is too long"),
        ("", "key_new", "Nothing was given"),
        (OLD, "", "is there already"),
        (FRESH, FRESH, "The key&#39;s id is none"),
    ],
)
def test_what_is_no_new_key_is_a_plain_error_beside_the_form(
    rig: Rig, page: Page, secret: str, key_id: str, said: str
) -> None:
    page.open(rig.token())
    answer, text = page.bring(secret, key_id)
    assert answer.status == 400
    assert said.lower() in text.lower()
    assert not secret or secret not in text
    assert page.bring(FRESH)[0].status == 303


def test_the_secret_is_in_no_page_no_log_and_no_row(rig: Rig, page: Page) -> None:
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        token = rig.token()
        page.open(token)
        page.bring(f"{FRESH} two")
        page.bring(FRESH, FRESH)
        page.ask("POST", "/new-key", {"secret": FRESH, "form": "x"})
        page.bring(FRESH, "key_new")
        page.ask("GET", "/new-key/brought")
        rig.desk.record(rig.desk.one())
        rig.desk.finish()
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    everywhere = heard.getvalue() + rig.desk.everything() + "".join(page.seen)
    assert not [secret for secret in SECRETS if secret in everywhere]
    assert token not in everywhere
    assert "admin:rotation:answer" in rig.desk.tags()


def test_every_page_says_how_it_may_be_used(rig: Rig, page: Page) -> None:
    token = rig.token()
    pages = [
        page.ask("GET", "/new-key"),
        page.ask("GET", f"/new-key/{token}"),
        page.ask("POST", f"/new-key/{token}", {}),
        page.ask("GET", "/new-key"),
        page.bring("two words"),
        page.bring(FRESH),
        page.ask("GET", "/new-key/brought"),
        page.open(token),
    ]
    assert [answer.status for answer, _ in pages] == [403, 200, 303, 200, 400, 303, 200, 410]
    for answer, _ in pages:
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "form-action 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"


def test_a_visit_to_another_page_is_none_here(page: Page) -> None:
    page.cookie = "jackstop_visit=" + "c" * 43
    assert page.ask("GET", "/new-key")[0].status == 403
    assert page.ask("POST", "/new-key", {"secret": FRESH, "form": "x"})[0].status == 403
