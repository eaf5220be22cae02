"""DeepSeek: keys are made and deleted in its console only; what it tells is the account's prepaid balance.

Facts: api-docs.deepseek.com/api/get-user-balance; there is no API for keys, usage or audit. Read on 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from jackstop.providers.drivers.answers import nusd, shaped
from jackstop.providers.drivers.assisted import AssistedDriver
from jackstop.providers.drivers.calls import bearing, call
from jackstop.secret import Secret


class _Balance(msgspec.Struct):
    currency: str
    total_balance: str


class _Balances(msgspec.Struct):
    balance_infos: list[_Balance]


class DeepSeekDriver(AssistedDriver):
    """The credential's base URL is https://api.deepseek.com."""

    name = "deepseek"
    base_url = "https://api.deepseek.com"
    permission = (
        "None: DeepSeek has no administration API. Keys are made and deleted at platform.deepseek.com/api_keys. "
        "The balance is read with the credential's own key."
    )
    sources: Mapping[str, str] = {
        "verify": "GET /v1/models, api-docs.deepseek.com/api/list-models",
        "balance": "GET /user/balance, api-docs.deepseek.com/api/get-user-balance",
    }


def balance(base_url: str, secret: Secret, ca: str = "") -> dict[str, int]:
    """What is left of the account's money, by currency (USD, CNY), granted and topped up, in billionths of its unit.

    It is the whole account's, so that what it falls by is what all of its keys have spent. Raises CallFailed.
    """
    found = shaped(call("GET", f"{base_url}/user/balance", bearing(secret), ca=ca), _Balances, "the balance")
    return {balance.currency: nusd(balance.total_balance) for balance in found.balance_infos}


DRIVER = DeepSeekDriver()
