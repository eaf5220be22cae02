"""The console's pages over a real socket, with control's answers given."""

import asyncio
import http.client
import re
import threading
from urllib.parse import urlencode

import pytest

from jackstop.clock import ManualClock
from jackstop.console.address import check_console, url_of
from jackstop.console.serve import serve
from jackstop.console.visits import VISIT_S
from jackstop.control.protocol import Reply
from jackstop.errors import UserError
from jackstop.settings import Settings
from tests.acceptance.system import free_port, until

TOKEN = "q" * 43
ASKED = {
    "title": "A key spends faster than ever <before>",
    "key_name": "shop",
    "key_id": "abc",
    "first_seen_us": 1_790_000_000_000_000,
    "last_seen_us": 1_790_000_060_000_000,
    "facts": [["Spent", "12.50 USD"]],
    "state": "throttled",
}


class Browser:
    """Keeps cookies, follows nothing, and sends forms as a browser does."""

    def __init__(self, port):
        self.port = port
        self.cookie = ""

    def ask(self, method, path, form=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        sent = {"host": f"localhost:{self.port}", **({"cookie": self.cookie} if self.cookie else {}), **(headers or {})}
        if form is not None:
            sent |= {"content-type": "application/x-www-form-urlencoded"}
            sent.setdefault("origin", f"http://localhost:{self.port}")
        connection.request(method, path, urlencode(form) if form is not None else None, sent)
        answer = connection.getresponse()
        text = answer.read().decode()
        if set_cookie := answer.headers.get("set-cookie"):
            self.cookie = set_cookie.split(";")[0]
            self.cookie_line = set_cookie
        connection.close()
        return answer, text

    def form_token(self):
        _, text = self.ask("GET", "/was-this-you")
        return re.search(r'name="form" value="(\w+)"', text)[1]


class Rig:
    """A console in a thread of its own, before a control that knows one question."""

    def __init__(self):
        self.port = free_port()
        self.settings = Settings(console=f"127.0.0.1:{self.port}")
        self.clock = ManualClock(1_790_000_100_000_000)
        self.calls = []
        self.browser = Browser(self.port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        until(self._answers, "the console")

    async def run(self, name, args):
        self.calls.append((name, args))
        if args["token"] != TOKEN:
            return Reply(problem="there is no such question", remedy="", status=2)
        return Reply(result=ASKED if name == "cases question" else {"state": "quarantined"})

    def _work(self):
        self._task = self._loop.create_task(self._serve())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.close()

    def _serve(self):
        given = {"is_token": lambda token: token != "w" * 43, "is_invited": lambda _token: False}
        return serve(self.settings, self.run, self.clock, **given)

    def _answers(self):
        try:
            return self.browser.ask("GET", "/healthz")[0].status == 200
        except OSError:
            return False

    def answers(self):
        return [args["answer"] for name, args in self.calls if name == "cases answer"]

    def stop(self):
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def rig():
    made = Rig()
    yield made
    made.stop()


@pytest.fixture
def browser(rig):
    return rig.browser


def test_opening_the_link_asks_nothing_and_answers_nothing(rig, browser):
    answer, text = browser.ask("GET", f"/was-this-you/{TOKEN}")
    assert answer.status == 200
    assert TOKEN not in text
    assert rig.calls == []
    assert browser.cookie == ""


def test_the_owner_signs_in_reads_and_answers(rig, browser):
    answer, _ = browser.ask("POST", f"/was-this-you/{TOKEN}", {})
    assert (answer.status, answer.headers["location"]) == (303, "/was-this-you")
    assert "HttpOnly" in browser.cookie_line
    assert "SameSite=strict" in browser.cookie_line
    _, text = browser.ask("GET", "/was-this-you")
    assert "A key spends faster than ever &lt;before&gt;" in text
    assert "12.50 USD" in text
    answer, text = browser.ask("POST", "/was-this-you", {"answer": "no", "form": browser.form_token()})
    assert answer.status == 200
    assert "The key now: quarantined" in text
    assert rig.answers() == ["no"]


def test_nobody_answers_without_signing_in(rig, browser):
    answer, _ = browser.ask("POST", "/was-this-you", {"answer": "yes", "form": "x"})
    assert answer.status == 403
    assert browser.ask("GET", "/was-this-you")[0].status == 403
    assert rig.answers() == []


@pytest.mark.parametrize(
    ("form", "headers", "status"),
    [
        ({"answer": "yes", "form": "0" * 64}, {}, 403),
        ({"answer": "yes"}, {}, 403),
        ({"answer": "yes"}, {"origin": "https://evil.example"}, 403),
        ({"answer": "yes"}, {"origin": "null"}, 403),
        ({"answer": "yes"}, {"origin": "http://["}, 403),
        ({"answer": "x" * 5_000}, {}, 413),
    ],
)
def test_a_form_of_another_site_answers_nothing(rig, browser, form, headers, status):
    browser.ask("POST", f"/was-this-you/{TOKEN}", {})
    assert browser.ask("POST", "/was-this-you", form, headers)[0].status == status
    assert rig.answers() == []


def test_another_answer_than_yes_or_no_is_none(rig, browser):
    browser.ask("POST", f"/was-this-you/{TOKEN}", {})
    answer, _ = browser.ask("POST", "/was-this-you", {"answer": "maybe", "form": browser.form_token()})
    assert answer.status == 400
    assert rig.answers() == []


def test_a_token_that_nobody_was_given_causes_no_work(rig, browser):
    assert browser.ask("POST", "/was-this-you/" + "w" * 43, {})[0].status == 404
    assert rig.calls == []


def test_a_wrong_token_signs_nobody_in(browser):
    answer, text = browser.ask("POST", "/was-this-you/" + "v" * 43, {})
    assert answer.status == 404
    assert "no such question" in text
    assert browser.cookie == ""


def test_a_visit_ends_by_itself(rig, browser):
    browser.ask("POST", f"/was-this-you/{TOKEN}", {})
    rig.clock.advance(VISIT_S)
    assert browser.ask("GET", "/was-this-you")[0].status == 403


def test_every_page_says_how_it_may_be_used(browser):
    for path, status in (("/", 200), (f"/was-this-you/{TOKEN}", 200), ("/was-this-you", 403), ("/nowhere", 404)):
        answer, _ = browser.ask("GET", path)
        assert answer.status == status
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"


def test_another_host_name_is_refused(browser):
    assert browser.ask("GET", "/", headers={"host": "evil.example"})[0].status == 400


def test_the_address_in_links_follows_the_settings():
    assert url_of(Settings()) == "http://localhost:8081"
    assert url_of(Settings(console_url="https://jackstop.example.com/")) == "https://jackstop.example.com"


def test_pages_do_not_cross_a_network_in_clear():
    with pytest.raises(UserError, match="in clear"):
        check_console(Settings(console="0.0.0.0:8081"))
    check_console(Settings(console="0.0.0.0:8081", console_url="https://jackstop.example.com"))


@pytest.mark.parametrize("url", ["jackstop.example.com", "https://", "https://[jackstop", "ftp://jackstop.example.com"])
def test_links_begin_with_an_address_that_browsers_can_open(url):
    with pytest.raises(UserError, match="console_url is no address"):
        check_console(Settings(console_url=url))
    check_console(Settings())
