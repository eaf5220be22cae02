"""An invitation to bring the new key that a rotation waits for: who may, until when, and that its link is good once.

The link's token is a keyed hash of the rotation's uid and the invitation's number. It is made as the link leaves, so
the store never has it. A rotation has one invitation at a time: the next one takes its place.
"""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Row, select

from jackstop.cases.turn import Turn
from jackstop.clock import US_PER_S, iso
from jackstop.console.address import url_of
from jackstop.errors import UserError
from jackstop.notify.outbox import News, queue
from jackstop.rotation import intents
from jackstop.secret import Secret
from jackstop.store import audit
from jackstop.store.audit import Tag
from jackstop.store.tables import credentials
from jackstop.store.tables import rotations as table

GOOD_FOR_US = 86_400 * US_PER_S
"""How long a link is good."""
_PLACE = "{invitation}"
"""What stands for the token until the message leaves."""
_MARK = b"bring a new key "
_DIGITS = 18
_NEWS = "rotation-{uid}-invitation-{number}"


class Invitation(msgspec.Struct, frozen=True):
    """What is kept of it with the rotation. `person` is an id."""

    number: int
    person: int
    until_us: int
    used: bool = False


class Meant(NamedTuple):
    """Which invitation a token is for."""

    uid: str
    number: int


def _of(row: Row[Any]) -> Invitation | None:
    kept = row.detail.get("invitation")
    return None if kept is None else msgspec.convert(kept, Invitation)


def _keep(turn: Turn, row: Row[Any], invitation: Invitation) -> Row[Any]:
    return intents.change(turn, row, detail={**row.detail, "invitation": msgspec.to_builtins(invitation)})


# -- the link ---------------------------------------------------------------------------------------------------


def token_of(key: Secret, meant: Meant) -> str:
    """What opens this invitation, under the question key."""
    name = f"{meant.uid}-{meant.number}"
    mac = hmac.digest(key.reveal(), _MARK + name.encode(), "sha256")
    return f"{name}-{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def meant_by(key: Secret, token: str) -> Meant | None:
    """The invitation that a token opens, None for a token that nobody was given."""
    uid, number, _ = (*token.split("-", 2), "", "")[:3]
    if not (number.isascii() and number.isdecimal() and len(number) < _DIGITS):
        return None
    meant = Meant(uid, int(number))
    return meant if hmac.compare_digest(token.encode(), token_of(key, meant).encode()) else None


def link(turn: Turn, token: str) -> str:
    """The page's address for a token."""
    return f"{url_of(turn.settings)}/new-key/{token}"


# -- inviting ---------------------------------------------------------------------------------------------------


def invite(turn: Turn, row: Row[Any], person: int, *, mailed: bool) -> Invitation:
    """Let a person bring the key that `row` waits for. Raises UserError where it waits for none."""
    if not intents.waits_for_secret(row):
        raise UserError(
            f"the {row.act} of {row.credential} waits for nobody to bring a key: it is at the step {row.step}",
            f"see `jackstop credential rotations {row.credential}`",
            2,
        )
    before = _of(row)
    made = Invitation(1 if before is None else before.number + 1, person, turn.now_us + GOOD_FOR_US)
    _keep(turn, row, made)
    said = {"rotation": row.id, "person": person, "until_us": made.until_us, "mailed": mailed}
    audit.record(turn.conn, turn.now_us, turn.actor, Tag.ROTATION_INVITE, f"credential:{row.credential}", said)
    return made


def mail(turn: Turn, row: Row[Any], invitation: Invitation, email: str, provider: str) -> None:
    """The one message with the link. The token takes its place as the message leaves."""
    where = link(turn, _PLACE)
    uid = _NEWS.format(uid=row.uid, number=invitation.number)
    text = (
        f"The credential {row.credential} needs a new key, and you were asked to bring it. Make one at {provider}, "
        f"open {where} and give it there; never send it by mail or chat. "
        f"The link is good once, until {iso(invitation.until_us)[:16]}Z; do not forward it."
    )
    queue(
        turn.conn,
        turn.now_us,
        News(
            kind="question",
            severity="high",
            title=f"A new key is needed for {row.credential}",
            text=text,
            case_id=row.case_id,
            uid=uid,
            group_key=uid,
            actions=(("Bring the key", where),),
            to=email,
            until_us=invitation.until_us,
        ),
    )


def with_token(key: Secret, payload: dict[str, Any]) -> dict[str, Any]:
    """An invitation's message as its receiver is to get it, its token in its place; any other as it is."""
    text = json.dumps(payload)
    if _PLACE not in text:
        return payload
    _, uid, _, number = str(payload["news"][0]["uid"]).split("-")
    filled: dict[str, Any] = json.loads(text.replace(_PLACE, token_of(key, Meant(uid, int(number)))))
    return filled


# -- the page ---------------------------------------------------------------------------------------------------


def find(turn: Turn, token: str, key: Secret) -> tuple[Row[Any], Invitation]:
    """The rotation that a link is for. Raises UserError when the link is not, or no more, good."""
    meant = meant_by(key, token)
    found = turn.conn.execute(select(table).where(table.c.uid == meant.uid)).one_or_none() if meant else None
    invitation = None if found is None else _of(found)
    if meant is None or found is None or invitation is None:
        raise UserError("there is no such invitation", "open the link as it stands in the message", 2)
    if found.state != "running" or found.detail.get("switched_us"):
        raise _needless(found)
    anew = "ask whoever invited you for a new one"
    if meant.number != invitation.number:
        raise UserError("a newer link has taken the place of this one", f"open the newest, or {anew}", 2)
    if invitation.used:
        raise UserError("the link was used", f"if the provider refused the key that was brought, {anew}", 2)
    if invitation.until_us <= turn.now_us:
        raise UserError("the link is too old", anew, 2)
    if not intents.waits_for_secret(found):
        raise _needless(found)
    return found, invitation


def outcome(turn: Turn, token: str, key: Secret) -> dict[str, str]:
    """What came of the key that was brought by this link: `testing`, `taken`, `refused` or `needless`.

    Raises UserError for a token that nobody was given, or by which nothing was brought.
    """
    meant = meant_by(key, token)
    row = turn.conn.execute(select(table).where(table.c.uid == meant.uid)).one_or_none() if meant else None
    invitation = None if row is None else _of(row)
    if meant is None or row is None or invitation is None or meant.number > invitation.number:
        raise UserError("there is no such invitation", "open the link as it stands in the message", 2)
    if meant.number == invitation.number and not invitation.used:
        raise UserError("nothing was brought by this link", "open the link again", 2)
    if meant.number < invitation.number:
        state = "refused"  # nobody is invited again while a key is tested
    elif row.detail.get("switched_us"):
        state = "taken"
    elif row.state != "running":
        state = "needless"
    else:
        state = "refused" if intents.waits_for_secret(row) else "testing"
    return {"credential": row.credential, "state": state}


def _needless(row: Row[Any]) -> UserError:
    remedy = "there is nothing to do here; if you made a key for this, delete it at the provider"
    return UserError(f"a new key for {row.credential} is no longer needed", remedy, 2)


def shown(turn: Turn, row: Row[Any], invitation: Invitation) -> dict[str, Any]:
    """What the page says of the key that is to be brought."""
    credential = turn.conn.execute(select(credentials).where(credentials.c.name == row.credential)).one()
    driver = intents.driver_of(turn.conn, credential)
    return {
        "credential": credential.name,
        "provider": credential.provider if driver is None else driver.name,
        "base_url": credential.base_url,
        "place": sorted([name, str(value)] for name, value in credential.place.items()),
        "old_id": str(row.detail.get("old_id") or ""),
        "act": row.act,
        "outage": "stop" in row.steps,
        "by_person": not {"disable", "delete"} & set(row.steps),
        "until_us": invitation.until_us,
    }


def bring(turn: Turn, row: Row[Any], invitation: Invitation, fresh: bytes, fresh_id: str) -> None:
    """Whoever holds the link brings the sealed secret `fresh`, and the link is used up."""
    kept = _keep(turn, row, msgspec.structs.replace(invitation, used=True))
    intents.answer(turn.by(f"person:{invitation.person}"), kept, fresh, fresh_id)
