"""Sealing what Jackstop keeps: providers' secrets and the key pepper."""

from __future__ import annotations

import base64
import hmac
import json
import os
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select

from jackstop.errors import UserError
from jackstop.secret import Secret
from jackstop.store.tables import meta
from jackstop.vault.envelope import Vault

PEPPER_BYTES = 32
CREDENTIAL = "credential"
ADMINISTRATION = "administration"
PEPPER = "pepper"


def place(name: str, provider: str, base_url: str) -> str:
    """What a credential's blob is bound to: with another base URL or provider in its row it does not open."""
    return json.dumps([name, provider, base_url], separators=(",", ":"))


def seal_credential(vault: Vault, name: str, provider: str, base_url: str, secret: Secret) -> bytes:
    """The blob for `credentials.secret`."""
    return vault.seal(CREDENTIAL, place(name, provider, base_url), secret)


def unseal_credential(vault: Vault, name: str, provider: str, base_url: str, blob: bytes) -> Secret:
    """The provider's secret. Raises UserError that names the credential when it cannot be opened."""
    try:
        return vault.unseal(CREDENTIAL, place(name, provider, base_url), blob)
    except UserError as error:
        raise UserError(f"credential {name}: {error.problem}", error.remedy) from None


def administration_place(name: str, driver: str, base_url: str, options: Mapping[str, str]) -> str:
    """What an administration's blob is bound to: its key goes nowhere else than where it was meant to."""
    return json.dumps([name, driver, base_url, sorted(options.items())], separators=(",", ":"))


def seal_administration(
    vault: Vault, name: str, driver: str, base_url: str, options: Mapping[str, str], secret: Secret
) -> bytes:
    """The blob for `administrations.secret`."""
    return vault.seal(ADMINISTRATION, administration_place(name, driver, base_url, options), secret)


def unseal_administration(vault: Vault, row: Any) -> Secret:
    """Jackstop's own key of an administration, from its row. Raises UserError when it cannot be opened."""
    try:
        where = administration_place(row.name, row.driver, row.base_url, row.options)
        return vault.unseal(ADMINISTRATION, where, row.secret)
    except UserError as error:
        raise UserError(f"administration {row.name}: {error.problem}", error.remedy) from None


def create_pepper(conn: Connection, vault: Vault) -> Secret:
    """Draw the key pepper and keep it sealed. Every key's digest depends on it, so it never changes."""
    pepper = Secret(os.urandom(PEPPER_BYTES))
    sealed = base64.b64encode(vault.seal(PEPPER, PEPPER, pepper)).decode()
    conn.execute(insert(meta).values(key=PEPPER, value=sealed))
    return pepper


def load_pepper(conn: Connection, vault: Vault) -> Secret:
    """The key pepper. Raises UserError when there is none, or the vault cannot open it."""
    sealed = conn.execute(select(meta.c.value).where(meta.c.key == PEPPER)).scalar()
    if sealed is None:
        raise UserError("the database has no key pepper", "run `jackstop init` first")
    return vault.unseal(PEPPER, PEPPER, base64.b64decode(sealed))


def question_key(pepper: Secret) -> Secret:
    """The key of the links by which owners answer: derived from the pepper as well."""
    return Secret(hmac.digest(pepper.reveal(), b"jackstop-question", "sha256"))


def fingerprint_key(pepper: Secret) -> Secret:
    """The key of all `*_fp` columns: derived from the pepper, so that it need not be kept apart."""
    return Secret(hmac.digest(pepper.reveal(), b"jackstop-fingerprint", "sha256"))
