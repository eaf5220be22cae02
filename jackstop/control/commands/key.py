"""Keys: issue, list, show, rotate, throttle, quarantine, release, revoke."""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec
from sqlalchemy import Connection, select, update
from sqlalchemy import Row as DbRow

from jackstop.cases import responses
from jackstop.cases.turn import enter
from jackstop.control.commands import Context
from jackstop.control.commands.credential import require_provider
from jackstop.control.commands.people import email_of, person_id
from jackstop.control.commands.team import ensure_team
from jackstop.errors import UserError
from jackstop.keys import format as key_format
from jackstop.keys.amounts import format_amount, parse_budget, parse_rate, parse_span_us
from jackstop.keys.hours import parse_hours
from jackstop.keys.issue import KeySpec, LimitSpec, issue
from jackstop.keys.policy import Policy
from jackstop.settings import Mode
from jackstop.store import audit, tables
from jackstop.store.audit import Tag
from jackstop.vault.credentials import load_pepper

PAGE_ROWS = 5_000
_NAME_CHARS = 100


def issue_key(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """The options of `jackstop key issue`; returns the `key`, this once, and its `id`."""
    now_us = ctx.clock.now_us()
    name = _label(str(args["name"]))
    policy, limits = _policy(args), _limits(ctx, args)
    expires_us = now_us + parse_span_us(args["expires"]) if args.get("expires") else None
    with ctx.store.begin() as conn:
        _check_credential(conn, policy)
        owner_id = person_id(conn, ctx, email_of(str(args["owner"])), "owner")
        team = ensure_team(conn, ctx, str(args["team"])) if args.get("team") else ""
        spec = KeySpec(owner_id, name, team, policy, limits, expires_us, bool(args.get("canary")))
        issued = issue(conn, ctx.store, load_pepper(conn, ctx.vault), spec, now_us)
        unbudgeted = not spec.canary and not any(limit.kind in {"usd", "tokens", "requests"} for limit in limits)
        detail = {
            "owner": f"person:{owner_id}",
            "team": team,
            "canary": spec.canary,
            "policy": msgspec.to_builtins(policy),
            "limits": [[limit.kind, limit.amount, limit.window, limit.per_s] for limit in limits],
            "expires_us": expires_us,
        }
        tag = Tag.KEY_ISSUE_UNBUDGETED if unbudgeted else Tag.KEY_ISSUE
        audit.record(conn, now_us, ctx.actor, tag, f"key:{issued.id}", detail)
    return {
        "key": issued.key.reveal().decode(),
        "id": issued.id,
        "name": name,
        "owner": email_of(str(args["owner"])),
        "team": team,
        "expires_us": expires_us,
        "canary": spec.canary,
    }


def _label(name: str) -> str:
    if not name.strip() or len(name) > _NAME_CHARS or not name.isprintable():
        raise UserError(f"{name!r} is not a name for a key", f"give at most {_NAME_CHARS} printable characters", 2)
    return name.strip()


def _policy(args: dict[str, Any]) -> Policy:
    models = tuple(args.get("model") or ())
    if not all(model.strip() for model in models):
        raise UserError("a model's name is empty", "give a name or a glob such as 'gpt-4o*', or leave it out", 2)
    max_output = args.get("max_output")
    if max_output is not None and max_output < 1:
        raise UserError("--max-output is less than one token", "give a positive number of tokens", 2)
    return Policy(
        providers=tuple(require_provider(provider) for provider in args.get("provider") or ()),
        models=models,
        networks=tuple(_network(text) for text in args.get("network") or ()),
        hours=tuple(_hours(text) for text in args.get("hours") or ()),
        endpoints=tuple(args.get("endpoint") or ()),
        clamp=bool(args.get("clamp")),
        allow_unbounded=bool(args.get("allow_unbounded")),
        on_disconnect=args.get("on_disconnect"),
        credential=args.get("credential") or None,
        max_output=max_output,
        mode=args.get("mode"),
        respond=args.get("respond"),
    )


def _hours(text: str) -> str:
    parse_hours(text)
    return text.strip().lower()


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip()))
    except ValueError:
        pass
    try:
        meant = f"write it as {ipaddress.ip_interface(text.strip()).network}"
    except ValueError:
        meant = "write it as 10.9.8.0/24 or 2001:db8::/32"
    raise UserError(f"{text!r} is not a network", meant, 2)


def _limits(ctx: Context, args: dict[str, Any]) -> tuple[LimitSpec, ...]:
    mode: Mode | None = args.get("mode")
    budgets = list(args.get("budget") or ())
    found: list[LimitSpec] = []
    if any(text.strip().lower() == "none" for text in budgets):
        if len(budgets) > 1:
            raise UserError("--budget none stands beside another budget", "give one or the other", 2)
    elif budgets:
        found += [LimitSpec(*parse_budget(text), mode=mode) for text in budgets]
    elif not args.get("canary"):
        found.append(LimitSpec(*parse_budget(ctx.settings.ledger.default_budget), is_default=True, mode=mode))
    for text in args.get("rate") or ():
        rate = parse_rate(text)
        found.append(LimitSpec("rate", rate.amount, per_s=rate.per_s, mode=mode))
    if args.get("concurrency") is not None:
        if args["concurrency"] < 1:
            raise UserError("--concurrency is less than one", "give how many requests may run at a time", 2)
        found.append(LimitSpec("concurrency", args["concurrency"], mode=mode))
    _refuse_twice(found)
    return tuple(found)


def _refuse_twice(limits: list[LimitSpec]) -> None:
    seen = set()
    for limit in limits:
        place = (limit.kind, limit.window, limit.per_s)
        if place in seen:
            raise UserError(f"two {limit.kind} limits for the same time", "give the one that is meant", 2)
        seen.add(place)


def _check_credential(conn: Connection, policy: Policy) -> None:
    if policy.credential is None:
        return
    table = tables.credentials
    found = conn.execute(select(table.c.provider, table.c.state).where(table.c.name == policy.credential)).first()
    if found is None or found.state == "retired":
        raise UserError(f"there is no credential {policy.credential}", "see `jackstop credential list`", 2)
    if policy.providers and found.provider not in policy.providers:
        raise UserError(
            f"credential {policy.credential} is for {found.provider}, which the key may not use",
            f"add --provider {found.provider}, or name another credential",
            2,
        )


def listing(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """One page of keys, by id; `after` is the last id of the page before."""
    keys = tables.keys
    statement = select(keys).where(keys.c.id > str(args.get("after") or "")).order_by(keys.c.id).limit(PAGE_ROWS)
    with ctx.store.begin() as conn:
        found = conn.execute(statement).all()
    now_us = ctx.clock.now_us()
    rows = [_summary(row, now_us) for row in found]
    return {"rows": rows, "after": found[-1].id if len(found) == PAGE_ROWS else None}


def _summary(row: DbRow[Any], now_us: int) -> dict[str, Any]:
    expired = row.expires_us is not None and row.expires_us <= now_us
    return {
        "id": row.id,
        "name": row.name,
        "team": row.team,
        "owner_id": row.owner_id,
        "state": "expired" if expired and row.state == "live" else row.state,
        "throttle_per_min": row.throttle_per_min,
        "canary": row.canary,
        "in_case": row.in_case,
        "expires_us": row.expires_us,
        "created_us": row.created_us,
    }


def show(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Everything about the key `id` but the key itself."""
    limits, people = tables.limits, tables.people
    with ctx.store.begin() as conn:
        row = _find(conn, str(args["id"]))
        owner = conn.execute(select(people.c.email).where(people.c.id == row.owner_id)).scalar_one()
        own = select(limits).where(limits.c.scope == f"key:{row.id}", ~limits.c.deleted).order_by(limits.c.id)
        found = conn.execute(own).all()
    now_us = ctx.clock.now_us()
    return {
        **_summary(row, now_us),
        "owner": owner,
        "policy": msgspec.to_builtins(msgspec.convert(row.policy, Policy)),
        "limits": [_limit(limit) for limit in found],
        "retiring_until_us": max((until for _, until in row.retiring if until > now_us), default=None),
    }


def _limit(row: DbRow[Any]) -> dict[str, Any]:
    text = {
        "rate": _rate(row),
        "concurrency": f"{row.amount:,} at a time",
    }.get(row.kind) or f"{format_amount(row.kind, row.amount)} per {row.window}"
    return {
        "kind": row.kind,
        "amount": row.amount,
        "window": row.window,
        "per_s": row.per_s,
        "unit": row.unit,
        "default": row.is_default,
        "mode": row.mode,
        "text": text,
    }


def _rate(row: DbRow[Any]) -> str:
    if row.unit == "nusd":
        return f"ramp of {format_amount('usd', row.amount)} per {row.per_s} s"
    return f"{row.amount:,} requests per {row.per_s} s"


def rotate(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """A new secret for the key `id`, returned this once; the old one is accepted for `grace` (default: not at all)."""
    grace_us = parse_span_us(args["grace"]) if args.get("grace") else 0
    with ctx.store.begin() as conn:
        return rotate_within(conn, ctx, str(args["id"]), grace_us)


def rotate_within(conn: Connection, ctx: Context, key_id: str, grace_us: int, **detail: Any) -> dict[str, Any]:
    """`rotate` as part of a transaction; `detail` goes into the audit log."""
    now_us = ctx.clock.now_us()
    row = _find(conn, key_id)
    if row.state == "revoked":
        raise UserError(f"the key {row.id} is revoked", "issue a new one", 2)
    fresh = key_format.new_key(row.id)
    pepper = load_pepper(conn, ctx.vault)
    retiring = [[digest, min(until, now_us + grace_us)] for digest, until in row.retiring if until > now_us]
    if grace_us:
        retiring.append([row.digest.hex(), now_us + grace_us])
    else:
        retiring = []
    _change(
        conn,
        ctx,
        row.id,
        digest=key_format.digest(pepper.reveal(), fresh.reveal()),
        retiring=retiring,
    )
    audit.record(conn, now_us, ctx.actor, Tag.KEY_ROTATE, f"key:{row.id}", {"grace_us": grace_us, **detail})
    return {
        "key": fresh.reveal().decode(),
        "id": row.id,
        "old_until_us": now_us + grace_us if grace_us else None,
    }


def throttle(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Slow the key `id` down to a `rate` such as `6req/min`."""
    rate = parse_rate(str(args["rate"]))
    per_min, rest = divmod(rate.amount * 60, rate.per_s)
    if rest or not per_min:
        raise UserError(f"{args['rate']!r} is no whole number per minute", "write it as 6req/min", 2)
    with ctx.store.begin() as conn:
        row = _find_standing(conn, str(args["id"]))
        _take_over(conn, ctx, row.id, "throttle")
        _change(conn, ctx, row.id, throttle_per_min=per_min)
        _note(conn, ctx, Tag.KEY_THROTTLE, row.id, args, per_min=per_min)
    return {"id": row.id, "throttle_per_min": per_min, "state": row.state}


def quarantine(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Stop the key `id` and its running streams until it is released."""
    with ctx.store.begin() as conn:
        row = _find_standing(conn, str(args["id"]))
        _take_over(conn, ctx, row.id, "quarantine")
        _change(conn, ctx, row.id, state="quarantined")
        _note(conn, ctx, Tag.KEY_QUARANTINE, row.id, args)
    return {"id": row.id, "state": "quarantined"}


def release(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Let the key `id` work again: ends quarantine and throttle."""
    with ctx.store.begin() as conn:
        row = _find_standing(conn, str(args["id"]))
        _take_over(conn, ctx, row.id, "throttle", "quarantine")
        _change(conn, ctx, row.id, state="live", throttle_per_min=None)
        _note(conn, ctx, Tag.KEY_RELEASE, row.id, args)
    return {"id": row.id, "state": "live"}


def revoke(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """End the key `id` and its running streams, for good."""
    with ctx.store.begin() as conn:
        row = _find(conn, str(args["id"]))
        _take_over(conn, ctx, row.id, "throttle", "quarantine", "allowance")
        _change(conn, ctx, row.id, state="revoked", retiring=[])
        _note(conn, ctx, Tag.KEY_REVOKE, row.id, args)
    return {"id": row.id, "state": "revoked"}


def _find(conn: Connection, given: str) -> DbRow[Any]:
    """The key with this public id. Whatever else is given may be a secret, and is not repeated."""
    if not key_format.is_id(given):
        raise UserError("that is not the id of a key", "the id is the 12 characters after jsk_1", 2)
    keys = tables.keys
    row = conn.execute(select(keys).where(keys.c.id == given)).first()
    if row is None:
        raise UserError(f"there is no key {given}", "see `jackstop key list`", 2)
    return row


def _find_standing(conn: Connection, given: str) -> DbRow[Any]:
    row = _find(conn, given)
    if row.state == "revoked":
        raise UserError(f"the key {row.id} is revoked, and that is final", "issue a new one", 2)
    return row


def _take_over(conn: Connection, ctx: Context, key_id: str, *actions: str) -> None:
    """What a person does to a key is no case's to undo."""
    turn = enter(conn, ctx.store, ctx.settings, ctx.clock.now_us(), ctx.actor)
    responses.take_over(turn, f"key:{key_id}", actions)


def _change(conn: Connection, ctx: Context, key_id: str, **values: Any) -> None:
    keys = tables.keys
    conn.execute(update(keys).where(keys.c.id == key_id).values(**values, seq=ctx.store.next_seq(conn)))


def _note(conn: Connection, ctx: Context, tag: Tag, key_id: str, args: dict[str, Any], **detail: Any) -> None:
    detail["reason"] = str(args.get("reason") or "")
    audit.record(conn, ctx.clock.now_us(), ctx.actor, tag, f"key:{key_id}", detail)


COMMANDS = {
    "key issue": issue_key,
    "key list": listing,
    "key show": show,
    "key rotate": rotate,
    "key throttle": throttle,
    "key quarantine": quarantine,
    "key release": release,
    "key revoke": revoke,
}
