"""The console's pages and routes: "was this you?", which a key's owner answers, and the page for a new key.

Every page is HTML without scripts; nothing is loaded from elsewhere, framed or cached, and no
other site gets to know an address.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from jackstop.clock import Clock
from jackstop.console.new_key import NewKey
from jackstop.console.pages import HEADERS, Pages
from jackstop.console.run import Run
from jackstop.console.visits import COOKIE, Visits

_STYLE = Path(__file__).parent / "static" / "style.css"
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Console:
    """The pages. `run` reaches control; `url` is what people's browsers know the console as.

    `is_token` and `is_invited` say whether a link's token, to a question or to the page for a new key, was ever given
    to anyone, at no cost, so that strangers cause no work.
    """

    def __init__(
        self, run: Run, clock: Clock, url: str, is_token: Callable[[str], bool], is_invited: Callable[[str], bool]
    ) -> None:
        self._run = run
        self._is_token = is_token
        self._visits = Visits(clock)
        self._pages = Pages(url)
        self._style = _STYLE.read_text(encoding="utf-8")
        host = urlsplit(url).hostname or ""
        hosts = [*_LOOPBACK, f"[{host}]" if ":" in host else host]
        self.app = Starlette(
            routes=[
                Route("/", self._front),
                Route("/healthz", self._health),
                Route("/style.css", self._stylesheet),
                Route("/was-this-you", self._question),
                Route("/was-this-you", self._answer, methods=["POST"]),
                Route("/was-this-you/{token}", self._door),
                Route("/was-this-you/{token}", self._sign_in, methods=["POST"]),
                *NewKey(run, clock, is_invited, self._pages).routes(),
            ],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)],
            exception_handlers={HTTPException: self._failed},
        )

    async def _failed(self, _request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return self._pages.message(status, "There is nothing here", "Check the address, or go back.")

    async def _front(self, _request: Request) -> Response:
        return self._pages.page("front")

    async def _health(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n", headers=HEADERS)

    async def _stylesheet(self, _request: Request) -> Response:
        return Response(self._style, media_type="text/css", headers={**HEADERS, "cache-control": "max-age=3600"})

    # -- was this you? ------------------------------------------------------------------------------------------

    async def _door(self, _request: Request) -> Response:
        """What the link in the e-mail opens: a button. Whether there is such a question only pressing it tells."""
        return self._pages.page("door")

    async def _sign_in(self, request: Request) -> Response:
        await self._pages.form(request)
        token = request.path_params["token"]
        if not self._is_token(token):
            return self._gone()
        asked = await self._run("cases question", {"token": token})
        return self._gone() if asked.problem else self._pages.signed_in(self._visits, token, "/was-this-you")

    async def _question(self, request: Request) -> Response:
        cookie = request.cookies.get(COOKIE)
        token = self._visits.token(cookie)
        if cookie is None or token is None:
            return self._stranger()
        asked = await self._run("cases question", {"token": token})
        if asked.problem:
            return self._gone()
        return self._pages.page("question", asked=asked.result, form_token=self._visits.form_token(cookie))

    async def _answer(self, request: Request) -> Response:
        form = await self._pages.form(request)
        cookie = request.cookies.get(COOKIE)
        token = self._visits.token(cookie)
        if cookie is None or token is None or not self._visits.sent_by_own_page(cookie, form.get("form", "")):
            return self._stranger()
        given = form.get("answer", "")
        if given not in {"yes", "no"}:
            return self._pages.message(400, "No answer was given", "Go back, and choose one of the two.")
        done = await self._run("cases answer", {"token": token, "answer": given})
        if done.problem:
            return self._pages.message(409, done.problem, done.remedy)
        return self._pages.page("answered", answer=given, done=done.result)

    def _gone(self) -> Response:
        text = "The link is too old, or the question was answered. Ask your administrator if you are not sure."
        return self._pages.message(404, "There is no such question any more", text)

    def _stranger(self) -> Response:
        return self._pages.message(403, "You are not signed in", "Open the link in the e-mail again.")
