"""The vault: putting every sealed blob under a new key-encryption key."""

from __future__ import annotations

import base64
from typing import Any

from sqlalchemy import Connection, Table, select, update

from jackstop.control.commands import Context
from jackstop.notify.channel import rewrap_channels
from jackstop.store import audit
from jackstop.store.audit import Tag
from jackstop.store.tables import administrations, credentials, meta, rotations, standbys
from jackstop.vault.credentials import ADMINISTRATION, CREDENTIAL, PEPPER, administration_place, place
from jackstop.vault.envelope import Vault
from jackstop.vault.kek import backend

_BATCH_ROWS = 200


def rotate_kek(ctx: Context, _args: dict[str, Any]) -> dict[str, Any]:
    """Make a new key-encryption key, wrap every blob's data key in it, then forget the old key.

    Killed anywhere in between, both keys are kept and every blob opens; the next run goes on where this one
    stopped, with the same new key.
    """
    keks = backend(ctx.settings, ctx.home)
    known = keks.load()
    after = known if len(known) > 1 else keks.add()
    # Blobs that someone seals meanwhile must already go under the new key, or it would be forgotten for them.
    ctx.vault.adopt(after)
    detail = {"kek": ctx.vault.current_kek_id}
    with ctx.store.begin() as conn:
        audit.record(conn, ctx.clock.now_us(), ctx.actor, Tag.KEK_ROTATE_BEGIN, "vault", detail)
    count = _rewrap_pepper(ctx) + _rewrap_rotations(ctx)
    count += _rewrap_credentials(ctx)
    with ctx.store.begin() as conn:
        count += rewrap_channels(conn, ctx.vault) + _rewrap_administrations(conn, ctx.vault)
    # Meanwhile a credential's secret may have become the old one of a rotation.
    count += _rewrap_rotations(ctx)
    remains = keks.keep_current()
    ctx.vault.adopt(keks.load())
    with ctx.store.begin() as conn:
        audit.record(conn, ctx.clock.now_us(), ctx.actor, Tag.KEK_ROTATE_END, "vault", {"rewrapped": count})
    return {"kek": ctx.vault.current_kek_id, "rewrapped": count, "next": remains}


def _rewrap_pepper(ctx: Context) -> int:
    with ctx.store.begin() as conn:
        sealed = conn.execute(select(meta.c.value).where(meta.c.key == PEPPER)).scalar_one()
        fresh = ctx.vault.rewrap(PEPPER, PEPPER, base64.b64decode(sealed))
        if fresh is None:
            return 0
        value = base64.b64encode(fresh).decode()
        conn.execute(update(meta).where(meta.c.key == PEPPER).values(value=value))
    return 1


def _rewrap_credentials(ctx: Context) -> int:
    count, last = 0, ""
    while True:
        with ctx.store.begin() as conn:
            statement = (
                select(credentials).where(credentials.c.name > last).order_by(credentials.c.name).limit(_BATCH_ROWS)
            )
            rows = conn.execute(statement).all()
            if not rows:
                return count
            for row in rows:
                if not row.secret:
                    continue
                fresh = ctx.vault.rewrap(CREDENTIAL, place(row.name, row.provider, row.base_url), row.secret)
                if fresh is not None:
                    conn.execute(update(credentials).where(credentials.c.name == row.name).values(secret=fresh))
                    count += 1
            last = rows[-1].name


def _rewrap_administrations(conn: Connection, vault: Vault) -> int:
    count = 0
    for row in conn.execute(select(administrations)).all():
        where = administration_place(row.name, row.driver, row.base_url, row.options)
        fresh = vault.rewrap(ADMINISTRATION, where, row.secret)
        if fresh is not None:
            conn.execute(update(administrations).where(administrations.c.name == row.name).values(secret=fresh))
            count += 1
    return count


def _rewrap_rotations(ctx: Context) -> int:
    """Standbys, which become fresh secrets of rotations, which become credentials'."""
    with ctx.store.begin() as conn:
        count = _rewrap_of_credentials(conn, ctx.vault, standbys, "secret")
        return count + _rewrap_of_credentials(conn, ctx.vault, rotations, "fresh", "old")


def _rewrap_of_credentials(conn: Connection, vault: Vault, table: Table, *columns: str) -> int:
    """Secrets beside a credential's own, sealed for its place."""
    joined = table.join(credentials, credentials.c.name == table.c.credential)
    which = (credentials.c.name, credentials.c.provider, credentials.c.base_url)
    count = 0
    for name in columns:
        sealed, key = table.c[name], next(iter(table.primary_key))
        statement = select(key.label("key"), sealed.label("sealed"), *which).select_from(joined)
        for row in conn.execute(statement.where(sealed.is_not(None)).with_for_update()).all():
            fresh = vault.rewrap(CREDENTIAL, place(row.name, row.provider, row.base_url), row.sealed)
            if fresh is not None:
                conn.execute(update(table).where(key == row.key).values({name: fresh}))
                count += 1
    return count


COMMANDS = {"vault rotate-kek": rotate_kek}
