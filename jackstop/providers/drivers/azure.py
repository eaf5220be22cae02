"""Azure OpenAI and Foundry: the two keys of an account, either of which can be made anew."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from jackstop.providers.drivers import azure_metrics, trial
from jackstop.providers.drivers.answers import Absent, shaped
from jackstop.providers.drivers.azure_arm import BASE_URL, OPTIONS, PLACES, on_account
from jackstop.providers.drivers.azure_metrics import Buckets
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
from jackstop.secret import Secret

Slot = Literal["Key1", "Key2"]

_OTHER: dict[str, Slot] = {"Key1": "Key2", "Key2": "Key1"}
# Of the document that the calls were read in: Azure/azure-rest-api-specs, cognitiveservices/resource-manager/
# Microsoft.CognitiveServices/stable/2024-10-01/cognitiveservices.json @2284d3a, read on 2026-11-23.
_API_VERSION = {"api-version": "2024-10-01"}


class _Keys(msgspec.Struct):
    key1: str | None = None
    key2: str | None = None

    def slots(self) -> dict[Slot, str]:
        """The secrets by slot, without a slot that has none."""
        both: tuple[tuple[Slot, str | None], ...] = (("Key1", self.key1), ("Key2", self.key2))
        return {slot: secret for slot, secret in both if secret}


class AzureDriver(Absent):
    """Two slots. A key is made by making the other slot anew, and deleted by making its own slot anew.

    A key cannot be disabled alone: `disableLocalAuth` of the account refuses both. What is made for `delete` is
    forgotten at once; the next rotation makes that slot anew again.
    """

    name = "azure"
    kind: Kind = "two_slot"
    verbs: frozenset[Verb] = frozenset({"list", "create", "delete"})
    base_url = BASE_URL
    options: Sequence[Option] = OPTIONS
    places: Sequence[Option] = PLACES
    last_used = False
    most_keys = 2
    expires = False
    permission = (
        "An application in Entra ID with a client secret, and this custom role on the one account alone, with its id"
        " as the scope: `az role definition create --role-definition ROLE.json`, then `az ad sp create-for-rbac --role"
        " 'Jackstop key rotation' --scopes ACCOUNT_ID`. The last action is for reading usage, and can be left out.\n"
        + json.dumps(
            {
                "Name": "Jackstop key rotation",
                "Description": "Lists and regenerates the keys of a Cognitive Services account, and reads its metrics",
                "Actions": [
                    "Microsoft.CognitiveServices/accounts/listKeys/action",
                    "Microsoft.CognitiveServices/accounts/regenerateKey/action",
                    "Microsoft.Insights/metrics/read",
                ],
                "AssignableScopes": ["ACCOUNT_ID"],
            },
            indent=2,
        )
    )
    sources: Mapping[str, str] = {
        "list": "POST …/accounts/{account}/listKeys, azure-rest-api-specs @2284d3a, Accounts_ListKeys",
        "create": "POST …/accounts/{account}/regenerateKey of the other slot, azure-rest-api-specs @2284d3a, "
        "Accounts_RegenerateKey",
        "delete": "POST …/accounts/{account}/regenerateKey of its own slot, azure-rest-api-specs @2284d3a, "
        "Accounts_RegenerateKey",
        "verify": "GET /openai/v1/models, learn.microsoft.com/azure/ai-foundry/openai/latest",
        "usage": "GET …/providers/Microsoft.Insights/metrics, azure-mgmt-monitor 7.0.0 "
        "operations/_metrics_operations.py",
    }
    usage_poll_s: int = azure_metrics.POLL_S
    usage_width_us: int = azure_metrics.WIDTH_US
    usage_delay_s: int = azure_metrics.DELAY_S

    def list(self, admin: Administration, place: Mapping[str, str]) -> list[ProviderKey]:
        """The slots `Key1` and `Key2`: all that Azure tells of them is their secrets, which are forgotten here."""
        return [ProviderKey(id=slot) for slot in _keys(admin, place, "listKeys").slots()]

    def create(
        self, admin: Administration, place: Mapping[str, str], name: str, *, beside: str, expires_s: int | None
    ) -> Created:
        """Make the slot anew that `beside` is not. Whoever still used that slot is refused from then on."""
        if beside not in _OTHER:
            raise CallFailed("invalid", "it is not known whether the credential is Key1 or Key2 of the account")
        slot = _OTHER[beside]
        made = _keys(admin, place, "regenerateKey", {"keyName": slot}).slots()
        if slot not in made:
            raise CallFailed("failed", f"Azure made {slot} anew without saying what it is")
        return Created(slot, Secret(made[slot]))

    def delete(self, admin: Administration, place: Mapping[str, str], key_id: str, *, keep: str) -> None:
        """Make its slot anew, so that nobody knows it."""
        if key_id not in _OTHER or key_id == keep:
            raise CallFailed("invalid", "that slot is not there, or is the one to keep")
        _keys(admin, place, "regenerateKey", {"keyName": key_id})

    def verify(self, provider: str, base_url: str, place: Mapping[str, str], secret: Secret, ca: str = "") -> Verdict:
        """By the list of models of the v1 API, which takes the key as OpenAI's does."""
        return trial.list_models("openai", base_url, secret, ca)

    def slot_of(self, admin: Administration, place: Mapping[str, str], secret: Secret) -> Slot | None:
        """The slot that a secret is in, None where it is in neither. Raises CallFailed."""
        slots = _keys(admin, place, "listKeys").slots()
        # Every slot is compared, and each in constant time.
        found = [slot for slot, known in slots.items() if Secret(known) == secret]
        return found[0] if found else None

    def usage(self, admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> Buckets:
        """By deployment, for the whole account. The input tokens hold those of the cache."""
        return azure_metrics.read(admin, place, since_us, until_us)

    def costs(self, admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> Buckets:
        """Nothing: Cost Management knows meters, no keys."""
        return []


def _keys(admin: Administration, place: Mapping[str, str], act: str, body: object = None) -> _Keys:
    return shaped(on_account("POST", admin, place, act, query=_API_VERSION, body=body), _Keys, act)


DRIVER: Final = AzureDriver()
