"""The console's pages and routes: "was this you?", which a key's owner answers.

Every page is HTML without scripts; nothing is loaded from elsewhere, framed or cached, and no
other site gets to know an address.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from jackstop.clock import Clock, iso
from jackstop.console.visits import COOKIE, VISIT_S, Visits
from jackstop.control.protocol import Reply

FORM_BYTES = 4_096
_FOLDER = Path(__file__).parent
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
    "cache-control": "no-store",
}

Run = Callable[[str, dict[str, Any]], Awaitable[Reply]]
"""Runs one of control's commands on behalf of the console."""


class Console:
    """The pages. `run` reaches control; `url` is what people's browsers know the console as.

    `is_token` says whether a link's token was ever given to anyone, at no cost, so that strangers cause no work.
    """

    def __init__(self, run: Run, clock: Clock, url: str, is_token: Callable[[str], bool]) -> None:
        self._run = run
        self._is_token = is_token
        self._visits = Visits(clock)
        self._secure = url.startswith("https:")
        self._origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        self._pages = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"), autoescape=True, undefined=StrictUndefined
        )
        self._pages.filters["moment"] = _moment
        self._style = (_FOLDER / "static" / "style.css").read_text(encoding="utf-8")
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
            ],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)],
            exception_handlers={HTTPException: self._failed},
        )

    def _page(self, name: str, status: int = 200, **values: Any) -> Response:
        html = self._pages.get_template(f"{name}.html").render(**values)
        return HTMLResponse(html, status_code=status, headers=_HEADERS)

    async def _failed(self, _request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return self._page("message", status, title="There is nothing here", text="Check the address, or go back.")

    async def _front(self, _request: Request) -> Response:
        return self._page("front")

    async def _health(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n", headers=_HEADERS)

    async def _stylesheet(self, _request: Request) -> Response:
        return Response(self._style, media_type="text/css", headers={**_HEADERS, "cache-control": "max-age=3600"})

    # -- was this you? ------------------------------------------------------------------------------------------

    async def _door(self, _request: Request) -> Response:
        """What the link in the e-mail opens: a button. Whether there is such a question only pressing it tells."""
        return self._page("door")

    async def _sign_in(self, request: Request) -> Response:
        await self._form(request)
        token = request.path_params["token"]
        if not self._is_token(token):
            return self._gone()
        asked = await self._run("cases question", {"token": token})
        if asked.problem:
            return self._gone()
        answer = RedirectResponse("/was-this-you", 303, headers=_HEADERS)
        answer.set_cookie(
            COOKIE,
            self._visits.begin(token),
            max_age=VISIT_S,
            path="/was-this-you",
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )
        return answer

    async def _question(self, request: Request) -> Response:
        cookie = request.cookies.get(COOKIE)
        token = self._visits.token(cookie)
        if cookie is None or token is None:
            return self._page("message", 403, title="You are not signed in", text="Open the link in the e-mail again.")
        asked = await self._run("cases question", {"token": token})
        if asked.problem:
            return self._gone()
        return self._page("question", asked=asked.result, form_token=self._visits.form_token(cookie))

    async def _answer(self, request: Request) -> Response:
        form = await self._form(request)
        cookie = request.cookies.get(COOKIE)
        token = self._visits.token(cookie)
        if cookie is None or token is None or not self._visits.sent_by_own_page(cookie, form.get("form", "")):
            return self._page("message", 403, title="You are not signed in", text="Open the link in the e-mail again.")
        given = form.get("answer", "")
        if given not in {"yes", "no"}:
            return self._page("message", 400, title="No answer was given", text="Go back, and choose one of the two.")
        done = await self._run("cases answer", {"token": token, "answer": given})
        if done.problem:
            return self._page("message", 409, title=done.problem, text=done.remedy)
        return self._page("answered", answer=given, done=done.result)

    def _gone(self) -> Response:
        text = "The link is too old, or the question was answered. Ask your administrator if you are not sure."
        return self._page("message", 404, title="There is no such question any more", text=text)

    async def _form(self, request: Request) -> dict[str, str]:
        """A form's fields, each once. Raises HTTPException for one that another site sent, or that is too long."""
        origin = request.headers.get("origin", self._origin)
        if origin != self._origin and origin.partition("://")[2] != request.headers.get("host"):
            raise HTTPException(403)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > FORM_BYTES:
                raise HTTPException(413)
        return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def _moment(us: int | None) -> str:
    return f"{iso(us)[:16].replace('T', ' ')} UTC" if us else ""
