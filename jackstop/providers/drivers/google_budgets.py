"""Google's spend caps: a budget that stops a service of a project for the month once it is spent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from jackstop.money import NUSD_PER_USD
from jackstop.providers.drivers.answers import every, required, shaped
from jackstop.providers.drivers.calls import call, path
from jackstop.providers.drivers.driver import Administration, CallFailed, Option, ProviderLimit
from jackstop.providers.drivers.google_token import bearer

Limits = list[ProviderLimit]

BASE_URL = "https://billingbudgets.googleapis.com"
SOURCE = "billingbudgets.googleapis.com discovery document v1, revision 20261011: billingAccounts.budgets, spendCap"
PLACES = (
    Option("billing_account", "the billing account's id, for reading and setting spend caps", required=False),
    Option("billing_service", "the id of the service that a new cap is for, from the Catalog API", required=False),
)

_PAGE = 100
_NAME = "Jackstop spend cap"
_IN_FORCE = frozenset({"CONFIGURED", "ENFORCED"})
_SHAPE: dict[str, Any] = {
    "thresholdRules": [{"thresholdPercent": part, "spendBasis": "CURRENT_SPEND"} for part in (0.5, 0.8, 1.0)],
    "notificationsRule": {"enableProjectLevelRecipients": True},
    "spendCap": {"inputState": "CONFIGURED"},
}
"""What a budget with a cap has to have, word for word (the discovery document, Budget.spendCap and its neighbours)."""


class _Money(msgspec.Struct):
    currency: str = msgspec.field(name="currencyCode", default="USD")
    units: str = "0"
    nanos: int = 0


class _Amount(msgspec.Struct):
    specified: _Money | None = msgspec.field(name="specifiedAmount", default=None)


class _Filter(msgspec.Struct):
    projects: list[str] = []
    services: list[str] = []


class _Cap(msgspec.Struct):
    state: str = msgspec.field(name="outputState", default="STATE_UNSPECIFIED")


class _Budget(msgspec.Struct):
    name: str
    etag: str = ""
    amount: _Amount = msgspec.field(default_factory=_Amount)
    filter: _Filter = msgspec.field(name="budgetFilter", default_factory=_Filter)
    cap: _Cap | None = msgspec.field(name="spendCap", default=None)

    @property
    def service(self) -> str:
        return self.filter.services[0].removeprefix("services/") if self.filter.services else ""


class _Budgets(msgspec.Struct):
    budgets: list[_Budget] = []
    following: str = msgspec.field(name="nextPageToken", default="")


def limits(admin: Administration, place: Mapping[str, str]) -> Limits:
    """The caps on the place's project. One that was lifted for the rest of the month is not enforced."""
    return [_limit(budget) for budget in _caps(admin, place)] if place.get("billing_account") else []


def set_limit(admin: Administration, place: Mapping[str, str], amount_nusd: int) -> ProviderLimit:
    """Set the cap for the place's service, or make it. Raises CallFailed; a cap that is reached cannot be changed."""
    service = required(place, "billing_service")
    units, nanos = divmod(amount_nusd, NUSD_PER_USD)
    amount = {"specifiedAmount": {"currencyCode": "USD", "units": str(units), "nanos": nanos}}
    known = next((budget for budget in _caps(admin, place) if budget.service == service), None)
    if known is not None:
        body = {"amount": amount, "spendCap": _SHAPE["spendCap"], "etag": known.etag}
        url = _base(admin) + path("v1", *known.name.split("/"))
        asked = {"updateMask": "amount,spendCap.inputState"}
        answer = call("PATCH", url, bearer(admin), body, query=asked, ca=admin.ca)
    else:
        only = {
            "projects": [f"projects/{required(place, 'project')}"],
            "services": [f"services/{service}"],
            "calendarPeriod": "MONTH",
            "creditTypesTreatment": "EXCLUDE_ALL_CREDITS",
        }
        body = {"displayName": _NAME, "amount": amount, "budgetFilter": only, **_SHAPE}
        answer = call("POST", _url(admin, place), bearer(admin), body, ca=admin.ca)
    return _limit(shaped(answer, _Budget, "the spend cap"))


def _caps(admin: Administration, place: Mapping[str, str]) -> list[_Budget]:
    who = bearer(admin)
    scope = f"projects/{required(place, 'project')}"

    def page(cursor: str) -> tuple[list[_Budget], str]:
        asked = {"pageSize": _PAGE, "pageToken": cursor or None, "scope": scope}
        answer = shaped(call("GET", _url(admin, place), who, query=asked, ca=admin.ca) or {}, _Budgets, "the budgets")
        return answer.budgets, answer.following

    return [budget for budget in every(page) if budget.cap is not None]


def _limit(budget: _Budget) -> ProviderLimit:
    money = budget.amount.specified
    if money is None or money.currency != "USD":
        raise CallFailed("invalid", "the spend cap is not in US dollars")
    amount_nusd = int(money.units) * NUSD_PER_USD + money.nanos
    enforced = budget.cap is not None and budget.cap.state in _IN_FORCE
    return ProviderLimit(f"service {budget.service}", "month", amount_nusd, enforced)


def _url(admin: Administration, place: Mapping[str, str]) -> str:
    return _base(admin) + path("v1", "billingAccounts", required(place, "billing_account"), "budgets")


def _base(admin: Administration) -> str:
    return admin.options.get("budgets_url", BASE_URL)
