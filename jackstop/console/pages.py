"""What every page of the console has in common: its headers, how a form is read, who is signed in."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from jackstop.clock import iso
from jackstop.console.visits import COOKIE, VISIT_S, Visits

FORM_BYTES = 4_096
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
    "cache-control": "no-store",
}
_TEMPLATES = Path(__file__).parent / "templates"


class Pages:
    """Writes pages and reads forms. `url` is what people's browsers know the console as."""

    def __init__(self, url: str) -> None:
        self._secure = url.startswith("https:")
        self._origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        self._templates = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
        self._templates.filters["moment"] = _moment

    def page(self, name: str, status: int = 200, **values: Any) -> Response:
        """A template, filled in."""
        html = self._templates.get_template(f"{name}.html").render(**values)
        return HTMLResponse(html, status_code=status, headers=HEADERS)

    def message(self, status: int, title: str, text: str) -> Response:
        """A page that says one thing."""
        return self.page("message", status, title=title, text=text)

    def signed_in(self, visits: Visits, token: str, path: str) -> Response:
        """Go on to `path`, signed in for what the token opens, there and nowhere else."""
        answer = RedirectResponse(path, 303, headers=HEADERS)
        answer.set_cookie(
            COOKIE,
            visits.begin(token),
            max_age=VISIT_S,
            path=path,
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )
        return answer

    async def form(self, request: Request, most_bytes: int = FORM_BYTES) -> dict[str, str]:
        """A form's fields, each once. Raises HTTPException for one that another site sent, or that is too long."""
        origin = request.headers.get("origin", self._origin)
        if origin != self._origin and origin.partition("://")[2] != request.headers.get("host"):
            raise HTTPException(403)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > most_bytes:
                raise HTTPException(413)
        return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def _moment(us: int | None) -> str:
    return f"{iso(us)[:16].replace('T', ' ')} UTC" if us else ""
