"""Google Cloud: the API keys of a project, such as Gemini's, and the caps on what the project may spend."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from jackstop.providers.drivers import google_budgets, trial
from jackstop.providers.drivers.answers import Absent, every, micros, required, shaped
from jackstop.providers.drivers.calls import bearing, call, path
from jackstop.providers.drivers.driver import (
    Administration,
    CallFailed,
    Created,
    Kind,
    Option,
    ProviderKey,
    ProviderLimit,
    Verb,
    Verdict,
    Why,
)
from jackstop.providers.drivers.google_budgets import Limits
from jackstop.providers.drivers.google_token import bearer
from jackstop.secret import Secret

_PAGE = 300
_NAME_CHARS = 63
_SERVICE = "generativelanguage.googleapis.com"
_POLLS_S = (0.2, 0.3, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0)
"""How long to wait before each look at an operation: 24 seconds in all, then the next attempt finds what was made."""
_WHY: dict[int, Why] = {5: "missing", 7: "denied", 8: "quota", 3: "invalid", 9: "invalid"}
"""By google.rpc.Code."""


class _Key(msgspec.Struct):
    name: str
    display: str = msgspec.field(name="displayName", default="")
    since: datetime | None = msgspec.field(name="createTime", default=None)
    deleted: datetime | None = msgspec.field(name="deleteTime", default=None)
    restrictions: dict[str, Any] = {}
    annotations: dict[str, str] = {}
    account: str = msgspec.field(name="serviceAccountEmail", default="")

    @property
    def id(self) -> str:
        return self.name.rpartition("/")[2]


class _Keys(msgspec.Struct):
    keys: list[_Key] = []
    following: str = msgspec.field(name="nextPageToken", default="")


class _Text(msgspec.Struct):
    text: str = msgspec.field(name="keyString")


class _Failure(msgspec.Struct):
    code: int = 0


class _Operation(msgspec.Struct):
    name: str = ""
    done: bool = False
    error: _Failure | None = None
    response: dict[str, Any] = {}


class GoogleDriver(Absent):
    """API keys beside each other, each with the restrictions of the one that it replaces. None can be disabled."""

    name = "google"
    kind: Kind = "overlap"
    verbs: frozenset[Verb] = frozenset({"list", "create", "delete"})
    base_url = "https://apikeys.googleapis.com"
    options: Sequence[Option] = (
        Option("budgets_url", f"where budgets are, if not at {google_budgets.BASE_URL}", required=False),
    )
    places: Sequence[Option] = (
        Option("project", "the id or number of the project that the keys are in"),
        *google_budgets.PLACES,
    )
    last_used = False
    # docs.cloud.google.com/docs/authentication/api-keys: "limit of 300 API keys per project".
    most_keys = 300
    expires = False
    permission = (
        "A service account for Jackstop alone, with the role API Keys Admin (roles/serviceusage.apiKeysAdmin) on the"
        " project, or a role of your own with apikeys.keys.list, .get, .getKeyString, .create and .delete. For keys"
        " that are bound to a service account also iam.serviceAccounts.actAs on that account; for spend caps the role"
        " Billing Account Costs Manager (roles/billing.costsManager) on the billing account. The administration's"
        " secret is a key of Jackstop's account: `gcloud iam service-accounts keys create - --iam-account=JACKSTOP"
        " | base64 -w0`."
    )
    sources: Mapping[str, str] = {
        "list": "apikeys.googleapis.com discovery document v2, revision 20260818: projects.locations.keys.list",
        "create": "the same: keys.get of the old one, keys.create, operations.get, keys.getKeyString",
        "delete": "the same: keys.delete, operations.get",
        "verify": "GET /v1beta/openai/models, https://ai.google.dev/gemini-api/docs/openai",
        "limits": google_budgets.SOURCE,
        "set_limit": google_budgets.SOURCE,
    }

    def list(self, admin: Administration, place: Mapping[str, str]) -> list[ProviderKey]:
        """The project's keys. Those that were deleted in the last 30 days are left out."""
        who = bearer(admin)

        def page(cursor: str) -> tuple[list[_Key], str]:
            asked = {"pageSize": _PAGE, "pageToken": cursor or None}
            answer = shaped(call("GET", _url(admin, place), who, query=asked, ca=admin.ca) or {}, _Keys, "the keys")
            return answer.keys, answer.following

        return [ProviderKey(id=key.id, name=key.display, created_us=micros(key.since)) for key in every(page)]

    def create(
        self, admin: Administration, place: Mapping[str, str], name: str, *, beside: str, expires_s: int | None
    ) -> Created:
        """Make a key with the restrictions, annotations and service account of `beside`.

        Without one it is for Gemini alone, since a key without restrictions opens every API of the project. The id
        is left to Google: an id of one's own stays taken for 30 days after the key is deleted.
        """
        who = bearer(admin)
        wanted: dict[str, Any] = {"restrictions": {"apiTargets": [{"service": _SERVICE}]}}
        if beside:
            old = shaped(call("GET", _url(admin, place, beside), who, ca=admin.ca), _Key, "the old key")
            like = {
                "restrictions": old.restrictions,
                "annotations": old.annotations,
                "serviceAccountEmail": old.account,
            }
            wanted = {field: value for field, value in like.items() if value}
        started = call("POST", _url(admin, place), who, {"displayName": name[:_NAME_CHARS], **wanted}, ca=admin.ca)
        made = shaped(_finished(admin, who, started).response, _Key, "the new key")
        answer = call("GET", _url(admin, place, made.id) + "/keyString", who, ca=admin.ca)
        return Created(made.id, Secret(shaped(answer, _Text, "the new key").text))

    def delete(self, admin: Administration, place: Mapping[str, str], key_id: str, *, keep: str) -> None:
        """Delete a key, which can be taken back for 30 days."""
        who = bearer(admin)
        try:
            _finished(admin, who, call("DELETE", _url(admin, place, key_id), who, ca=admin.ca))
        except CallFailed as error:
            if error.why == "missing":
                return
            # What a second delete is answered with is not documented; the key itself tells.
            if error.why != "invalid" or not _deleted(admin, place, who, key_id):
                raise

    def verify(self, provider: str, base_url: str, place: Mapping[str, str], secret: Secret, ca: str = "") -> Verdict:
        """By Gemini's list of models in OpenAI's shape, wherever below `/v1beta` the credential's URL leads."""
        parts = urlsplit(base_url)
        root = f"{parts.scheme}://{parts.netloc}{parts.path.partition('/v1beta')[0]}"
        return trial.judged("GET", f"{root}/v1beta/openai/models", bearing(secret), ca=ca, refused=trial.GOOGLE)

    def limits(self, admin: Administration, place: Mapping[str, str]) -> Limits:
        """The spend caps of the project, none where the place names no billing account."""
        return google_budgets.limits(admin, place)

    def set_limit(self, admin: Administration, place: Mapping[str, str], amount_nusd: int) -> ProviderLimit:
        """Set the project's spend cap for the place's service, and make one where there is none."""
        return google_budgets.set_limit(admin, place, amount_nusd)


def _url(admin: Administration, place: Mapping[str, str], *key: str) -> str:
    return admin.base_url + path("v2", "projects", required(place, "project"), "locations", "global", "keys", *key)


def _finished(admin: Administration, who: Mapping[str, str], started: Any) -> _Operation:
    """The operation once it is over. Raises CallFailed where it failed, or is not over in time."""
    operation = shaped(started, _Operation, "the operation")
    for wait_s in _POLLS_S:
        if operation.done:
            break
        time.sleep(wait_s)
        url = admin.base_url + path("v2", "operations", operation.name.removeprefix("operations/"))
        operation = shaped(call("GET", url, who, ca=admin.ca), _Operation, "the operation")
    if operation.error is not None:
        raise CallFailed(_WHY.get(operation.error.code, "failed"), f"the operation failed ({operation.error.code})")
    if not operation.done:
        raise CallFailed("failed", "the operation is not over yet")
    return operation


def _deleted(admin: Administration, place: Mapping[str, str], who: Mapping[str, str], key_id: str) -> bool:
    key = shaped(call("GET", _url(admin, place, key_id), who, ca=admin.ca), _Key, "the key")
    return key.deleted is not None


DRIVER: Final = GoogleDriver()
