"""Credentials: add, list, check, rotate, contain, retire."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy import Row as DbRow

from jackstop.cases import responses
from jackstop.cases.turn import Turn, enter
from jackstop.control.commands import Context
from jackstop.control.commands.team import simple_name
from jackstop.errors import UserError
from jackstop.providers import default_base_url, fold_base_url
from jackstop.rotation import intents
from jackstop.secret import Secret
from jackstop.store import audit, tables
from jackstop.store.audit import Tag
from jackstop.vault.credentials import seal_credential, unseal_credential

_SECRET_BYTES = 8_192

# Where a person makes a key useless at the provider itself.
_AT_PROVIDER = {
    "openai": "delete it under https://platform.openai.com/api-keys",
    "anthropic": "disable it under https://console.anthropic.com/settings/keys",
    "deepseek": "delete it under https://platform.deepseek.com/api_keys",
}


def require_provider(name: str) -> str:
    """A provider's name, checked. Raises UserError for one that there is not."""
    default_base_url(name)
    return name


def add(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """`name`, `provider`, `secret`, optional `base_url`, `provider_key_id`, `exclusive`."""
    name, provider = simple_name(str(args["name"]), "credential"), str(args["provider"])
    default = default_base_url(provider)
    base_url = fold_base_url(str(args.get("base_url") or default))
    secret = read_secret(args)
    table = tables.credentials
    with ctx.store.begin() as conn:
        if conn.execute(select(table.c.name).where(table.c.name == name)).first() is not None:
            raise UserError(
                f"there is a credential {name} already",
                f"to replace its secret: jackstop credential rotate {name}; else choose another name",
                2,
            )
        conn.execute(
            insert(table).values(
                name=name,
                provider=provider,
                base_url=base_url,
                secret=seal_credential(ctx.vault, name, provider, base_url, secret),
                state="active",
                exclusive=bool(args.get("exclusive")),
                provider_key_id=str(args.get("provider_key_id") or ""),
                created_us=ctx.clock.now_us(),
                seq=ctx.store.next_seq(conn),
            )
        )
        detail = {"provider": provider, "base_url": base_url, "exclusive": bool(args.get("exclusive"))}
        audit.record(conn, ctx.clock.now_us(), ctx.actor, Tag.CREDENTIAL_ADD, f"credential:{name}", detail)
        return shown_credential(find_credential(conn, name))


def read_secret(args: dict[str, Any]) -> Secret:
    """What came as `secret`. Raises UserError for what is none."""
    text = str(args.get("secret") or "").strip()
    if not text:
        raise UserError("no secret came on standard input", "pipe it in, or run the command at a terminal", 2)
    if not is_secret(text):
        raise UserError(
            "what came on standard input is no secret of a provider: it has spaces, line breaks or odd characters",
            "send the secret alone",
            2,
        )
    return Secret(text)


def is_secret(text: str) -> bool:
    """Whether this may be a provider's secret, by its looks."""
    return 0 < len(text) <= _SECRET_BYTES and text.isascii() and text.isprintable() and " " not in text


def listing(ctx: Context, _args: dict[str, Any]) -> dict[str, Any]:
    """All credentials, without their secrets."""
    table = tables.credentials
    with ctx.store.begin() as conn:
        return {"rows": [shown_credential(row) for row in conn.execute(select(table).order_by(table.c.name))]}


def shown_credential(row: DbRow[Any]) -> dict[str, Any]:
    """A credential as people see it, without its secret."""
    return {
        "name": row.name,
        "provider": row.provider,
        "base_url": row.base_url,
        "state": row.state,
        "kind": "exclusive" if row.exclusive else "shared",
        "provider_key_id": row.provider_key_id,
        "administration": row.administration,
        "place": row.place,
        "rotated_us": row.rotated_us,
        "created_us": row.created_us,
    }


def check(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Of each credential (or the one called `name`): does it open, and may its base URL be used."""
    table = tables.credentials
    statement = select(table).order_by(table.c.name)
    with ctx.store.begin() as conn:
        if args.get("name"):
            find_credential(conn, str(args["name"]))
            statement = statement.where(table.c.name == str(args["name"]))
        rows = conn.execute(statement).all()
    return {"rows": [_checked(ctx, row) for row in rows]}


def _checked(ctx: Context, row: DbRow[Any]) -> dict[str, Any]:
    result = {"name": row.name, "state": row.state, "ok": True, "problem": "", "remedy": ""}
    if row.state == "retired":
        return result
    try:
        unseal_credential(ctx.vault, row.name, row.provider, row.base_url, row.secret)
        fold_base_url(row.base_url)
    except UserError as error:
        result.update(ok=False, problem=error.problem, remedy=error.remedy)
    return result


def rotate(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Give `name` a new secret: `secret`, or one that its driver makes.

    With an administration the new secret is tested and switched in, and the old one ended, step by step. Without one
    `secret` replaces the old one at once, optionally with another `base_url`, and makes the credential active again.
    """
    with ctx.store.begin() as conn:
        row = find_credential(conn, str(args["name"]))
        driver = intents.driver_of(conn, row)
        if driver is not None and not args.get("base_url"):
            return _begin_rotation(conn, ctx, row, args)
    return _replace(ctx, args)


def _begin_rotation(conn: Connection, ctx: Context, row: DbRow[Any], args: dict[str, Any]) -> dict[str, Any]:
    """Begin one, or give the one that waits for a new secret what it waits for."""
    turn = _turn(ctx, conn)
    key_id, fresh = str(args.get("provider_key_id") or ""), None
    _take_over(turn, row.name)
    if args.get("secret"):
        fresh = seal_fresh(ctx, row, read_secret(args))
    running = intents.of_credential(conn, row.name)
    if running is not None and fresh is not None and intents.waits_for_secret(running):
        intents.answer(turn, running, fresh, key_id)
    else:
        reason = str(args.get("reason") or "")
        intents.begin(turn, row, "rotate", "hand", reason=reason, fresh=fresh, fresh_id=key_id)
    return _under_way(conn, row.name)


def seal_fresh(ctx: Context, row: DbRow[Any], secret: Secret) -> bytes:
    """A new secret of a credential, sealed. Raises UserError for the one that is there already."""
    if secret == _old_secret(ctx, row):
        raise UserError("this is the secret that is there already", "make a new one at the provider first", 2)
    return seal_credential(ctx.vault, row.name, row.provider, row.base_url, secret)


def _under_way(conn: Connection, name: str) -> dict[str, Any]:
    running = intents.of_credential(conn, name)
    assert running is not None
    shown = shown_credential(find_credential(conn, name))
    return {**shown, "rotation": intents.shown(running), "next": f"see `jackstop credential rotations {name}`"}


def _replace(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    secret, table = read_secret(args), tables.credentials
    with ctx.store.begin() as conn:
        row = find_credential(conn, str(args["name"]))
        if row.state == "retired":
            raise UserError(f"the credential {row.name} is retired", "add one under another name", 2)
        _require_rest(conn, row.name)
        base_url = fold_base_url(str(args["base_url"])) if args.get("base_url") else row.base_url
        if secret == _old_secret(ctx, row):
            raise UserError("this is the secret that is there already", "make a new one at the provider first", 2)
        _take_over(_turn(ctx, conn), row.name)
        conn.execute(
            update(table)
            .where(table.c.name == row.name)
            .values(
                base_url=base_url,
                secret=seal_credential(ctx.vault, row.name, row.provider, base_url, secret),
                state="active",
                provider_key_id=str(args.get("provider_key_id") or ""),
                rotated_us=ctx.clock.now_us(),
                seq=ctx.store.next_seq(conn),
            )
        )
        detail = {"base_url": base_url, "was": row.state}
        audit.record(conn, ctx.clock.now_us(), ctx.actor, Tag.CREDENTIAL_ROTATE, f"credential:{row.name}", detail)
        shown = shown_credential(find_credential(conn, row.name))
    return {**shown, "next": f"at the provider, end the old secret: {_end_at_provider(row)}"}


def _old_secret(ctx: Context, row: DbRow[Any]) -> Secret | None:
    try:
        return unseal_credential(ctx.vault, row.name, row.provider, row.base_url, row.secret)
    except UserError:
        # A secret that does not open any more is the very reason to enter a new one.
        return None


def contain(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Make the secret of `name` useless: at its provider where a driver can, else at the gate alone.

    Where a new key takes over nothing stops. Otherwise the gate stops using it at once, running streams too.
    """
    with ctx.store.begin() as conn:
        row = find_credential(conn, str(args["name"]))
        if intents.has_help(conn, row):
            turn = _turn(ctx, conn)
            _take_over(turn, row.name)
            reason, stop = str(args.get("reason") or ""), bool(args.get("now"))
            intents.begin(turn, row, "contain", "hand", reason=reason, stop=stop)
            return _under_way(conn, row.name)
    return _end(ctx, args, "contained", Tag.CREDENTIAL_CONTAIN)


def retire(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Stop using `name` for good and forget its secret."""
    return _end(ctx, args, "retired", Tag.CREDENTIAL_RETIRE)


def _end(ctx: Context, args: dict[str, Any], state: str, tag: Tag) -> dict[str, Any]:
    table, keys = tables.credentials, tables.keys
    with ctx.store.begin() as conn:
        row = find_credential(conn, str(args["name"]))
        if row.state == "retired":
            raise UserError(f"the credential {row.name} is retired already", "see `jackstop credential list`", 2)
        _require_rest(conn, row.name)
        values: dict[str, Any] = {"state": state, "seq": ctx.store.next_seq(conn)}
        if state == "retired":
            values["secret"] = b""
            conn.execute(delete(tables.standbys).where(tables.standbys.c.credential == row.name))
        _take_over(_turn(ctx, conn), row.name)
        conn.execute(update(table).where(table.c.name == row.name).values(**values))
        bound = keys.c.policy["credential"].as_string() == row.name
        waiting = conn.execute(select(func.count()).where(bound, keys.c.state == "live")).scalar_one()
        detail = {"reason": str(args.get("reason") or ""), "was": row.state}
        audit.record(conn, ctx.clock.now_us(), ctx.actor, tag, f"credential:{row.name}", detail)
        shown = shown_credential(find_credential(conn, row.name))
    remains = f"the secret itself still works outside of Jackstop: {_end_at_provider(row)}"
    if state == "contained":
        remains += f"; then enter a new one: jackstop credential rotate {row.name}"
    return {**shown, "keys_without_credential": waiting, "next": remains}


def _turn(ctx: Context, conn: Connection) -> Turn:
    return enter(conn, ctx.store, ctx.settings, ctx.clock.now_us(), ctx.actor)


def _require_rest(conn: Connection, name: str) -> None:
    """Raises UserError while something is under way for it at its provider."""
    if intents.of_credential(conn, name) is not None:
        remedy = f"see `jackstop credential rotations {name}`, and `jackstop credential cancel {name}`"
        raise UserError(f"{name} is being worked on at its provider", remedy, 2)


def _take_over(turn: Turn, name: str) -> None:
    """What a person does to a credential is no case's to undo."""
    responses.take_over(turn, f"credential:{name}", ["contain"])


def _end_at_provider(row: DbRow[Any]) -> str:
    which = f" (key id {row.provider_key_id})" if row.provider_key_id else ""
    return _AT_PROVIDER.get(row.provider, f"revoke it where {row.provider} manages its keys") + which


def find_credential(conn: Connection, name: str) -> DbRow[Any]:
    """The row. Raises UserError where there is none."""
    table = tables.credentials
    row = conn.execute(select(table).where(table.c.name == name)).first()
    if row is None:
        raise UserError(f"there is no such credential: {name}", "see `jackstop credential list`", 2)
    return row


COMMANDS = {
    "credential add": add,
    "credential list": listing,
    "credential check": check,
    "credential rotate": rotate,
    "credential contain": contain,
    "credential retire": retire,
}
