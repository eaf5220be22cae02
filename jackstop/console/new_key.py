"""The page on which an invited person brings a provider's new key: it goes to control at once, and is shown nowhere."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jackstop.clock import Clock
from jackstop.console.pages import Pages
from jackstop.console.run import Run
from jackstop.console.visits import COOKIE, Visits
from jackstop.control.protocol import Reply

PATH = "/new-key"
FORM_BYTES = 32_768
"""The longest secret that control takes, each character written as three, and the rest."""


class NewKey:
    """Door, form and thanks. `is_invited` says whether a link's token was ever given to anyone, at no cost."""

    def __init__(self, run: Run, clock: Clock, is_invited: Callable[[str], bool], pages: Pages) -> None:
        self._run = run
        self._is_invited = is_invited
        self._pages = pages
        self._visits = Visits(clock)
        self._after = Visits(clock)

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [
            Route(PATH, self._form),
            Route(PATH, self._bring, methods=["POST"]),
            Route(f"{PATH}/brought", self._brought),
            Route(f"{PATH}/{{token}}", self._door),
            Route(f"{PATH}/{{token}}", self._sign_in, methods=["POST"]),
        ]

    async def _door(self, _request: Request) -> Response:
        """What the link opens: a button, whatever the token is."""
        return self._pages.page("new_key_door")

    async def _sign_in(self, request: Request) -> Response:
        await self._pages.form(request)
        token = request.path_params["token"]
        if not self._is_invited(token):
            text = "Open it just as it stands in the message, or ask for a new one."
            return self._pages.message(404, "There is no such link", text)
        asked = await self._run("invitation show", {"token": token})
        return self._closed(asked) if asked.problem else self._pages.signed_in(self._visits, token, PATH)

    async def _form(self, request: Request) -> Response:
        cookie = request.cookies.get(COOKIE)
        token = self._visits.token(cookie)
        if cookie is None or token is None:
            return self._stranger()
        return await self._shown(cookie, token)

    async def _bring(self, request: Request) -> Response:
        form = await self._pages.form(request, FORM_BYTES)
        cookie = request.cookies.get(COOKIE)
        token = self._visits.token(cookie)
        if cookie is None or token is None or not self._visits.sent_by_own_page(cookie, form.get("form", "")):
            return self._stranger()
        given = {"secret": form.get("secret", ""), "provider_key_id": form.get("key_id", "")}
        done = await self._run("invitation bring", {"token": token, **given})
        if done.problem:
            return await self._shown(cookie, token, done)
        self._visits.end(cookie)
        # Elsewhere: a page that is loaded again must not send the key again. There this visitor sees what comes of it.
        answer = self._pages.signed_in(self._after, token, f"{PATH}/brought")
        answer.delete_cookie(COOKIE, path=PATH)
        return answer

    async def _shown(self, cookie: str, token: str, refused: Reply | None = None) -> Response:
        """The form, with why control has not taken what was sent; or why there is none any more."""
        asked = await self._run("invitation show", {"token": token})
        if asked.problem:
            return self._closed(asked)
        problem = "" if refused is None else f"{_sentence(refused.problem)}. {_sentence(refused.remedy)}."
        values = {"asked": asked.result, "form_token": self._visits.form_token(cookie), "problem": problem}
        return self._pages.page("new_key", 400 if problem else 200, **values)

    async def _brought(self, request: Request) -> Response:
        """Thanks, and whether the provider takes the key, for whoever brought it."""
        token = self._after.token(request.cookies.get(COOKIE))
        asked = None if token is None else await self._run("invitation outcome", {"token": token})
        known = {} if asked is None or asked.problem else asked.result
        return self._pages.page("new_key_brought", state=known.get("state", ""), credential=known.get("credential", ""))

    def _closed(self, reply: Reply) -> Response:
        return self._pages.message(410, _sentence(reply.problem), f"{_sentence(reply.remedy)}.")

    def _stranger(self) -> Response:
        return self._pages.message(403, "You are not signed in", "Open the link again.")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
