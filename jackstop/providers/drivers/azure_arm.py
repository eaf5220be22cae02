"""Azure Resource Manager: calls on one Cognitive Services account, with a token that Entra gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from jackstop.providers.drivers.answers import required, shaped
from jackstop.providers.drivers.calls import call, path
from jackstop.providers.drivers.driver import Administration, CallFailed, Option

BASE_URL = "https://management.azure.com"
LOGIN_URL = "https://login.microsoftonline.com"
_SCOPE = "https://management.azure.com/.default"

OPTIONS = (
    Option("tenant", "the directory (tenant) id of the application that stands for Jackstop"),
    Option("client_id", "that application's (client) id; the administration's secret is a client secret of it"),
    Option("login_url", f"Entra's address, where it is not {LOGIN_URL}", required=False),
)
PLACES = (
    Option("subscription", "the subscription's id"),
    Option("resource_group", "the resource group's name"),
    Option("account", "the name of the Azure OpenAI or Foundry resource"),
)


class _Token(msgspec.Struct):
    access_token: str


def on_account(
    method: str,
    admin: Administration,
    place: Mapping[str, str],
    act: str,
    *,
    query: Mapping[str, object],
    body: object = None,
) -> Any:
    """The answer of what stands below the account at `act`. Raises CallFailed."""
    account = path(
        "subscriptions",
        required(place, "subscription"),
        "resourceGroups",
        required(place, "resource_group"),
        "providers",
        "Microsoft.CognitiveServices",
        "accounts",
        required(place, "account"),
    )
    return call(method, f"{admin.base_url}{account}/{act}", _bearer(admin), body, query=query, ca=admin.ca)


def _bearer(admin: Administration) -> dict[str, str]:
    """By client credentials (learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow)."""
    for option in ("tenant", "client_id"):
        if not admin.options.get(option):
            raise CallFailed("invalid", f"the administration has no option {option!r}")
    url = admin.options.get("login_url", LOGIN_URL) + path(admin.options["tenant"], "oauth2", "v2.0", "token")
    form = {
        "grant_type": "client_credentials",
        "client_id": admin.options["client_id"],
        "client_secret": admin.secret.reveal().decode(),
        "scope": _SCOPE,
    }
    token = shaped(call("POST", url, {}, form=form, ca=admin.ca), _Token, "the token")
    return {"Authorization": f"Bearer {token.access_token}"}
