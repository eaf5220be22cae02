"""Google Cloud: the keys of a service account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from jackstop.providers.drivers.answers import Absent, micros, required, shaped, unless_gone
from jackstop.providers.drivers.calls import call, path
from jackstop.providers.drivers.driver import (
    Administration,
    CallFailed,
    Created,
    Kind,
    Option,
    ProviderKey,
    Verb,
    Verdict,
)
from jackstop.providers.drivers.google_token import bearer, token
from jackstop.secret import Secret

_NEVER = 9999
"""The year of `validBeforeTime` for a key that does not expire."""


class _Key(msgspec.Struct):
    name: str
    disabled: bool = False
    since: datetime | None = msgspec.field(name="validAfterTime", default=None)
    until: datetime | None = msgspec.field(name="validBeforeTime", default=None)
    data: str = msgspec.field(name="privateKeyData", default="")

    @property
    def id(self) -> str:
        return self.name.rpartition("/")[2]

    @property
    def expires_us(self) -> int | None:
        return None if self.until is None or self.until.year == _NEVER else micros(self.until)


class _Keys(msgspec.Struct):
    keys: list[_Key] = []


class GoogleServiceAccountDriver(Absent):
    """Up to ten keys for each account, each of which can be disabled.

    A key's secret is its credentials file in base64, as IAM gives it. "You might need to wait for 60 seconds or more"
    before a new one works (docs.cloud.google.com/iam/docs/keys-create-delete).
    """

    name = "google_sa"
    kind: Kind = "overlap"
    verbs: frozenset[Verb] = frozenset({"list", "create", "disable", "enable", "delete"})
    base_url = "https://iam.googleapis.com"
    options: Sequence[Option] = ()
    places: Sequence[Option] = (
        Option("project", "the id of the project that the service account is in"),
        Option("service_account", "the service account's e-mail address"),
    )
    last_used = False
    # docs.cloud.google.com/iam/quotas, "Service account keys".
    most_keys = 10
    expires = False
    permission = (
        "A service account for Jackstop alone, with the role Service Account Key Admin"
        " (roles/iam.serviceAccountKeyAdmin) granted on the one service account whose keys it rotates, not on the"
        " project: `gcloud iam service-accounts add-iam-policy-binding ROTATED --member=serviceAccount:JACKSTOP"
        " --role=roles/iam.serviceAccountKeyAdmin`. The administration's secret is a key of Jackstop's own account:"
        " `gcloud iam service-accounts keys create - --iam-account=JACKSTOP | base64 -w0`."
    )
    sources: Mapping[str, str] = {
        verb: f"iam.googleapis.com discovery document v1, revision 20261023: projects.serviceAccounts.keys.{verb}"
        for verb in ("list", "create", "disable", "enable", "delete")
    } | {"verify": "https://developers.google.com/identity/protocols/oauth2/service-account"}

    def list(self, admin: Administration, place: Mapping[str, str]) -> list[ProviderKey]:
        """The keys that people manage. Google's own are left out."""
        answer = call("GET", _url(admin, place), bearer(admin), query={"keyTypes": "USER_MANAGED"}, ca=admin.ca)
        return [
            ProviderKey(
                id=key.id,
                state="disabled" if key.disabled else "active",
                created_us=micros(key.since),
                expires_us=key.expires_us,
            )
            for key in shaped(answer or {}, _Keys, "the list of keys").keys
        ]

    def create(
        self, admin: Administration, place: Mapping[str, str], name: str, *, beside: str, expires_s: int | None
    ) -> Created:
        """Make a key, which gets no name."""
        body = {"privateKeyType": "TYPE_GOOGLE_CREDENTIALS_FILE", "keyAlgorithm": "KEY_ALG_RSA_2048"}
        try:
            answer = call("POST", _url(admin, place), bearer(admin), body, ca=admin.ca)
        except CallFailed as error:
            # An eleventh key fails with the same FAILED_PRECONDITION as a policy that forbids keys.
            if error.why == "invalid" and len(self.list(admin, place)) >= self.most_keys:
                raise CallFailed("quota", f"the service account has {self.most_keys} keys already") from None
            raise
        made = shaped(answer, _Key, "the new key")
        if not made.data:
            raise CallFailed("failed", "Google made a key without saying what it is")
        return Created(made.id, Secret(made.data), made.expires_us)

    def disable(self, admin: Administration, place: Mapping[str, str], key_id: str) -> None:
        with unless_gone():
            call("POST", _url(admin, place, key_id) + ":disable", bearer(admin), {}, ca=admin.ca)

    def enable(self, admin: Administration, place: Mapping[str, str], key_id: str) -> None:
        call("POST", _url(admin, place, key_id) + ":enable", bearer(admin), {}, ca=admin.ca)

    def delete(self, admin: Administration, place: Mapping[str, str], key_id: str, *, keep: str) -> None:
        with unless_gone():
            call("DELETE", _url(admin, place, key_id), bearer(admin), ca=admin.ca)

    def verify(self, provider: str, base_url: str, place: Mapping[str, str], secret: Secret, ca: str = "") -> Verdict:
        """By asking for a token, at the address that the key's own file names."""
        try:
            token(secret, ca)
        except CallFailed as error:
            return "refused" if error.why == "denied" else "unsure"
        return "works"


def _url(admin: Administration, place: Mapping[str, str], *key: str) -> str:
    account = ("projects", required(place, "project"), "serviceAccounts", required(place, "service_account"))
    return admin.base_url + path("v1", *account, "keys", *key)


DRIVER: Final = GoogleServiceAccountDriver()
