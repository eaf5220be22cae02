"""Administrations: add, list, check, remove; which credential is kept at which, and where."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from jackstop.cases.turn import enter
from jackstop.control.commands import Context
from jackstop.control.commands.credential import find_credential, read_secret, seal_fresh, shown_credential
from jackstop.control.commands.team import simple_name
from jackstop.errors import UserError
from jackstop.notify.http import checked_url
from jackstop.providers import drivers
from jackstop.providers.drivers.driver import Driver, Option
from jackstop.rotation import intents
from jackstop.rotation.schedule import every_us
from jackstop.secret import Secret
from jackstop.store import audit
from jackstop.store.audit import Tag
from jackstop.store.tables import administrations, credentials, readings, standbys, usage
from jackstop.vault.credentials import seal_administration


def add(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """`name`, `driver`, `secret`, optional `base_url` and `options`."""
    name, driver = simple_name(str(args["name"]), "administration"), drivers.driver(str(args["driver"]))
    base_url = checked_url(str(args.get("base_url") or driver.base_url), "the administration's base URL").rstrip("/")
    options = _checked(driver, "an administration", driver.options, args.get("options") or {})
    # Where no API makes or ends keys there is nothing that a key of Jackstop's own could be for.
    secret = _read_key(args) if driver.verbs or str(args.get("secret") or "").strip() else Secret(b"")
    now_us = ctx.clock.now_us()
    with ctx.store.begin() as conn:
        if _row(conn, name) is not None:
            raise UserError(f"there is an administration {name} already", "remove it first, or choose another name", 2)
        sealed = seal_administration(ctx.vault, name, driver.name, base_url, options, secret)
        conn.execute(
            insert(administrations).values(
                name=name, driver=driver.name, base_url=base_url, options=options, secret=sealed, created_us=now_us
            )
        )
        detail = {"driver": driver.name, "base_url": base_url}
        audit.record(conn, now_us, ctx.actor, Tag.ADMINISTRATION_ADD, f"administration:{name}", detail)
        return {**_shown(_find(conn, name)), "permission": driver.permission}


def _read_key(args: dict[str, Any]) -> Secret:
    """What came as `secret`: one line, or a key file in JSON as Google has it."""
    text = str(args.get("secret") or "").strip()
    if not text.startswith("{"):
        return read_secret(args)
    try:
        found = json.loads(text)
    except ValueError:
        # Its text would quote what was read.
        raise UserError(
            "what came on standard input is no key file: it is not JSON", "send the file as it is", 2
        ) from None
    return Secret(json.dumps(found, separators=(",", ":")))


def _checked(driver: Driver, what: str, known: Any, given: dict[str, Any]) -> dict[str, str]:
    """Options that the driver knows, with all that it must have. Raises UserError."""
    options: list[Option] = list(known)
    values = {str(name): str(value) for name, value in given.items()}
    names = {option.name for option in options}
    for name in values:
        if name not in names:
            knows = ", ".join(sorted(names)) or "none"
            raise UserError(f"{what} of {driver.name} has no option {name!r}", f"it knows: {knows}", 2)
    for option in options:
        if option.required and not values.get(option.name):
            raise UserError(
                f"{what} of {driver.name} needs {option.name}: {option.meaning}", "give it as NAME=VALUE", 2
            )
    return values


def listing(ctx: Context, _args: dict[str, Any]) -> dict[str, Any]:
    """All administrations, without their secrets."""
    with ctx.store.begin() as conn:
        return {"rows": [_shown(row) for row in conn.execute(select(administrations).order_by(administrations.c.name))]}


def known(_ctx: Context, _args: dict[str, Any]) -> dict[str, Any]:
    """Every driver: its verbs, what it has to be told, and the permission that its administration needs."""
    found = [drivers.driver(name) for name in drivers.names()]
    return {"rows": [_described(driver) for driver in found]}


def _described(driver: Driver) -> dict[str, Any]:
    return {
        "driver": driver.name,
        "kind": driver.kind,
        "verbs": sorted(driver.verbs),
        "options": [option._asdict() for option in driver.options],
        "places": [option._asdict() for option in driver.places],
        "permission": driver.permission,
        "base_url": driver.base_url,
    }


def remove(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Forget `name` and its secret. Raises UserError while credentials are linked to it."""
    with ctx.store.begin() as conn:
        row = _find(conn, str(args["name"]))
        linked = select(credentials.c.name).where(
            credentials.c.administration == row.name, credentials.c.state != "retired"
        )
        users = sorted(conn.execute(linked).scalars())
        if users:
            raise UserError(f"{row.name} is used by {', '.join(users)}", "link them elsewhere, or retire them", 2)
        for table in (readings, usage):
            conn.execute(delete(table).where(table.c.administration == row.name))
        conn.execute(delete(administrations).where(administrations.c.name == row.name))
        subject = f"administration:{row.name}"
        audit.record(conn, ctx.clock.now_us(), ctx.actor, Tag.ADMINISTRATION_REMOVE, subject)
        return _shown(row)


def link(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Say where the keys of credential `name` are made: `administration`, `place`, `provider_key_id`, `every`."""
    with ctx.store.begin() as conn:
        row = find_credential(conn, str(args["name"]))
        values: dict[str, Any] = {}
        if args.get("administration") is not None:
            values["administration"] = str(args["administration"])
        admin = (
            _find(conn, values["administration"]) if values.get("administration") else _row(conn, row.administration)
        )
        if args.get("place") or values.get("administration"):
            if admin is None:
                raise UserError(f"{row.name} has no administration that a place could be in", "name one", 2)
            driver = drivers.driver(admin.driver)
            values["place"] = _checked(driver, "a credential's place", driver.places, args.get("place") or {})
        running = intents.of_credential(conn, row.name)
        if running is not None and _moves(conn, row, admin, values):
            # The ids that were written down are of keys there, and mean others elsewhere.
            remedy = f"see `jackstop credential rotations {row.name}`, and `jackstop credential cancel {row.name}`"
            raise UserError(f"{row.name} is being worked on at its provider", remedy, 2)
        if args.get("provider_key_id"):
            key_id = str(args["provider_key_id"])
            if running is not None:
                turn = enter(conn, ctx.store, ctx.settings, ctx.clock.now_us(), ctx.actor)
                intents.learn_old_id(turn, running, key_id)
            if running is None or not running.detail.get("switched_us"):
                values |= {"provider_key_id": key_id, "seq": ctx.store.next_seq(conn)}
        if args.get("every") is not None:
            values["rotate_every_us"] = every_us(str(args["every"]))
        if values:
            conn.execute(update(credentials).where(credentials.c.name == row.name).values(**values))
        detail = {name: value for name, value in values.items() if name != "seq"}
        audit.record(conn, ctx.clock.now_us(), ctx.actor, Tag.CREDENTIAL_LINK, f"credential:{row.name}", detail)
        return shown_credential(find_credential(conn, row.name))


def _moves(conn: Connection, row: Row[Any], admin: Row[Any] | None, values: dict[str, Any]) -> bool:
    """Whether the credential would be kept by another driver, or at another place.

    Another key for the same may be, and what was left open of the place may be said.
    """
    driver = intents.driver_of(conn, row)
    was = None if driver is None else driver.name
    elsewhere = "administration" in values and (None if admin is None else admin.driver) != was
    left = values.get("administration") == ""
    place = values.get("place", row.place)
    return left or elsewhere or any(place.get(name) != value for name, value in row.place.items())


def standby(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Deposit a second `secret` of credential `name`, which takes over where no API makes keys."""
    secret: Secret = read_secret(args)
    now_us = ctx.clock.now_us()
    with ctx.store.begin() as conn:
        row = find_credential(conn, str(args["name"]))
        if row.state == "retired":
            raise UserError(f"the credential {row.name} is retired", "add one under another name", 2)
        sealed = seal_fresh(ctx, row, secret)
        conn.execute(delete(standbys).where(standbys.c.credential == row.name))
        key_id = intents.not_the_old(str(args.get("provider_key_id") or ""), row.provider_key_id)
        conn.execute(
            insert(standbys).values(credential=row.name, secret=sealed, provider_key_id=key_id, created_us=now_us)
        )
        audit.record(conn, now_us, ctx.actor, Tag.CREDENTIAL_STANDBY, f"credential:{row.name}")
        return {**shown_credential(row), "standby_us": now_us}


def _shown(row: Row[Any]) -> dict[str, Any]:
    return {
        "name": row.name,
        "driver": row.driver,
        "base_url": row.base_url,
        "options": row.options,
        "created_us": row.created_us,
    }


def _row(conn: Connection, name: str) -> Row[Any] | None:
    return conn.execute(select(administrations).where(administrations.c.name == name)).one_or_none()


def _find(conn: Connection, name: str) -> Row[Any]:
    row = _row(conn, name)
    if row is None:
        raise UserError(f"there is no such administration: {name}", "see `jackstop administration list`", 2)
    return row


COMMANDS = {
    "administration add": add,
    "administration list": listing,
    "administration drivers": known,
    "administration remove": remove,
    "administration link": link,
    "administration standby": standby,
}
