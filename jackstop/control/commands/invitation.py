"""Invitations to bring a new key: make one for a person; show and bring for its page."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from jackstop.cases import responses
from jackstop.cases.turn import Turn
from jackstop.cases.turn import begin as begin_turn
from jackstop.control.commands import Context
from jackstop.control.commands.credential import find_credential, is_secret, seal_fresh
from jackstop.control.commands.people import email_of, person_id
from jackstop.errors import UserError
from jackstop.notify.outbox import can_ask
from jackstop.rotation import intents, invitation
from jackstop.secret import Secret
from jackstop.store.tables import credentials
from jackstop.vault.credentials import load_pepper, question_key

_KEY_ID_CHARS = 200


def make(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Invite the person with the address `to` to bring the key that `name` waits for.

    The link is returned this once, or with `mail` sent to that address and returned to nobody.
    """
    email, mailed = email_of(str(args.get("to") or "")), bool(args.get("mail"))
    with begin_turn(ctx.store, ctx.settings, ctx.clock.now_us(), ctx.actor) as turn:
        credential = find_credential(turn.conn, str(args["name"]))
        row = intents.of_credential(turn.conn, credential.name)
        if row is None:
            begin = f"begin: `jackstop credential rotate {credential.name}`, or contain"
            raise UserError(f"nothing is under way for {credential.name} that a key could be brought for", begin, 2)
        if mailed and not can_ask(turn.conn):
            remedy = "leave --mail out and hand over the link yourself, or see `jackstop notify add --help`"
            raise UserError("no e-mail channel takes messages to single persons", remedy, 2)
        made = invitation.invite(turn, row, person_id(turn.conn, ctx, email, "owner"), mailed=mailed)
        link = ""
        if mailed:
            driver = intents.driver_of(turn.conn, credential)
            invitation.mail(turn, row, made, email, credential.provider if driver is None else driver.name)
        else:
            token = invitation.token_of(_key(ctx, turn), invitation.Meant(row.uid, made.number))
            link = invitation.link(turn, token)
        return {"credential": credential.name, "until_us": made.until_us, "mailed": mailed, "link": link}


def show(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """What the page asks for, by the link's `token`."""
    with begin_turn(ctx.store, ctx.settings, ctx.clock.now_us(), ctx.actor) as turn:
        return invitation.shown(turn, *invitation.find(turn, str(args["token"]), _key(ctx, turn)))


def bring(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """The new key, `secret` and optional `provider_key_id`, by the link's `token`. It is tested next."""
    with begin_turn(ctx.store, ctx.settings, ctx.clock.now_us(), ctx.actor) as turn:
        row, invited = invitation.find(turn, str(args["token"]), _key(ctx, turn))
        text = str(args.get("secret") or "").strip()
        if not is_secret(text):
            odd = "what was given is no key: it has spaces or odd characters, or is too long"
            raise UserError(
                odd if text else "nothing was given as the key", "copy the key alone, as the provider shows it", 2
            )
        key_id = _key_id(str(args.get("provider_key_id") or "").strip(), text)
        credential = turn.conn.execute(select(credentials).where(credentials.c.name == row.credential)).one()
        invitation.bring(turn, row, invited, seal_fresh(ctx, credential, Secret(text)), key_id)
        responses.take_over(turn.by(f"person:{invited.person}"), f"credential:{credential.name}", ["contain"])
        return {"credential": credential.name}


def outcome(ctx: Context, args: dict[str, Any]) -> dict[str, str]:
    """What came of the key that was brought by the link's `token`."""
    with begin_turn(ctx.store, ctx.settings, ctx.clock.now_us(), ctx.actor) as turn:
        return invitation.outcome(turn, str(args["token"]), _key(ctx, turn))


def _key_id(given: str, secret: str) -> str:
    """Raises UserError for what cannot be an id, as the key itself in the wrong field: ids are no secret here."""
    if secret in given or len(given) > _KEY_ID_CHARS or not given.isascii() or not given.isprintable() or " " in given:
        raise UserError("what was given as the key's id is none", "copy it from the provider, or leave it empty", 2)
    return given


def _key(ctx: Context, turn: Turn) -> Secret:
    return question_key(load_pepper(turn.conn, ctx.vault))


COMMANDS = {
    "invitation make": make,
    "invitation show": show,
    "invitation bring": bring,
    "invitation outcome": outcome,
}
