"""Who made a call that CloudTrail recorded, with what, from where: the caller's columns of the event."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from jackstop.events.schema import Event
from jackstop.events.sources.cloudtrail_shape import Identity
from jackstop.events.sources.entry import kept
from jackstop.gate.source import of_peer

SUFFIX = ".amazonaws.com"
INTERNAL = "AWS Internal"
"""What stands for the address and the user agent of a call that a service of AWS made."""

_AGENT_CHARS = 512
_CACHED = 16_384


class _Who(NamedTuple):
    principal: str
    kind: str
    session: str


class _Where(NamedTuple):
    ip: str
    net: str
    raw: str
    kind: str


class _Agent(NamedTuple):
    text: str
    state: str
    client: str


word = lru_cache(maxsize=_CACHED)(kept)
"""Accounts, regions, codes and key ids come again and again."""


def set_place(event: Event, address: str | None, agent: str | None) -> None:
    """Fill in from where, and by what program."""
    event.src_ip, event.src_net, event.src_raw, event.network_kind = _where(address)
    event.user_agent, event.ua_state, event.client = _agent(agent)


def set_caller(event: Event, who: Identity) -> None:
    """Fill in who called, and with what."""
    issuer = who.session_context.session_issuer if who.session_context is not None else None
    event.principal, event.principal_kind, event.session = _who(
        who.type,
        who.arn or "",
        (issuer.arn if issuer is not None else None) or "",
        who.account_id or "",
        who.user_name or (who.on_behalf_of.user_id if who.on_behalf_of is not None else None) or "",
        who.principal_id or "",
        who.invoked_by or "",
    )
    key = who.access_key_id
    if key:
        event.provider_key_id, event.key_kind = word(key), _KEY_KINDS.get(key[:4], "")
    # An agent is the caller's word; the console has temporary keys.
    if event.client == "console" and event.key_kind != "long_lived":
        event.auth_method = "console"
    else:
        event.auth_method = "sigv4" if key else "service" if who.invoked_by else ""


@lru_cache(maxsize=_CACHED)
def _who(kind: str | None, arn: str, issuer: str, account: str, name: str, number: str, invoked_by: str) -> _Who:
    """Who called, without the session. A federated user has the rights of who asked for its token: it is that one."""
    partition = arn.split(":", 2)[1] if arn.startswith("arn:") else "aws"
    session = arn.rpartition("/")[2] if "/" in arn else number.partition(":")[2]
    found = (arn or account or name or number, "", "")
    if kind == "AssumedRole":
        found = (issuer or _role_of(arn, partition) or number.partition(":")[0], "role", session)
    elif kind == "Role":
        found = (issuer or arn or number, "role", "")
    elif kind == "FederatedUser":
        found = (issuer or arn or number, "federated", session)
    elif kind in {"SAMLUser", "WebIdentityUser"}:
        found = (name or number, "federated", "")
    elif kind == "Root":
        found = (arn or f"arn:{partition}:iam::{account}:root", "root", "")
    elif kind == "IAMUser":
        found = (arn or (f"arn:{partition}:iam::{account}:user/{name}" if name else number), "user", "")
    elif kind == "IdentityCenterUser":
        found = (name or number, "user", "")
    elif kind == "AWSAccount":
        found = (arn or account or number, "account", "")
    elif kind == "AWSService" or (invoked_by and not arn):
        found = (invoked_by or number, "service", "")
    return _Who(kept(found[0]), found[1], kept(found[2]))


def of_arn(arn: str) -> tuple[str, str, str]:
    """Principal, its kind and the session, where a log has nothing but the caller's ARN."""
    kind = next((kind for part, kind in _ARN_KINDS if part in arn), None)
    return _who(kind, arn, "", "", "", "", "")


_ARN_KINDS = (
    (":assumed-role/", "AssumedRole"),
    (":federated-user/", "FederatedUser"),
    (":user/", "IAMUser"),
    (":role/", "Role"),
    (":root", "Root"),
)


def _role_of(arn: str, partition: str) -> str:
    """`arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION` as the role's ARN, which then lacks the role's path."""
    parts = arn.split(":", 5)
    if len(parts) < 6 or not parts[5].startswith("assumed-role/"):
        return arn
    return f"arn:{partition}:iam::{parts[4]}:role/{parts[5].split('/')[1]}"


_KEY_KINDS = {"AKIA": "long_lived", "ASIA": "temporary"}
"""docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html, unique ID prefixes, read on 2026-11-23."""


@lru_cache(maxsize=_CACHED)
def _where(address: str | None) -> _Where:
    """The address with its network; where a service's name or no address stands, that as `raw`.

    Numbers with leading zeros are no address: whether they are octal depends on the reader.
    """
    if not address:
        return _Where("", "", "", "")
    source = of_peer(address)
    if source.ip:
        return _Where(source.ip, source.net, "", source.kind)
    by_service = address == INTERNAL or address.endswith((SUFFIX, ".amazonaws.com.cn", ".aws.internal"))
    return _Where("", "", kept(address), "service" if by_service else "")


@lru_cache(maxsize=_CACHED)
def _agent(text: str | None) -> _Agent:
    if text is None:
        return _Agent("", "absent", "none")
    if text in _EMPTY_AGENTS:
        return _Agent("", "empty", "none")
    return _Agent(text[:_AGENT_CHARS], "present", _client(text))


_EMPTY_AGENTS = frozenset({"", "-", "[]", "[-]"})
"""S3 sets what it writes into brackets."""


def _client(text: str) -> str:
    small = text.lower()
    for part, client in _CLIENTS:
        if part in small:
            return client
    if text == INTERNAL or small.endswith(SUFFIX):
        return "console" if small.startswith("signin.") else "service"
    return "other"


_CLIENTS = (
    ("terraform", "terraform"),
    ("aws-cli/", "aws-cli"),
    ("boto3/", "boto3"),
    ("botocore/", "botocore"),
    ("aws-sdk-js", "aws-sdk-js"),
    ("console", "console"),
    ("aws-internal/", "console"),
    ("aws-sdk-java", "java"),
    ("aws-sdk-go", "go"),
    ("go-http-client", "go"),
    ("axios/", "axios"),
    ("aiohttp/", "aiohttp"),
    ("httpx/", "httpx"),
    ("urllib3/", "urllib3"),
    ("requests/", "requests"),
    ("curl/", "curl"),
    ("openai/", "openai"),
    ("anthropic", "anthropic"),
    ("mozilla/", "browser"),
    ("java/", "java"),
)
"""What a user agent in small letters holds, and what it comes from; the first that fits."""
