"""CloudTrail records as text, for practice: who calls, what is called, and the one built from the other.

Field names and their order follow docs.aws.amazon.com/awscloudtrail/latest/userguide/
cloudtrail-event-reference-record-contents.html, read on 2026-11-23. Accounts and addresses are those that AWS and the
RFCs 5737 and 3849 set aside for documentation. Nothing here holds any content.
"""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

from jackstop.clock import US_PER_S, to_datetime

_SECONDS_OF_DAY = 86_400
_ID_BITS = 256


class Caller(NamedTuple):
    """An identity with what it calls from. `agent` None leaves the field out."""

    account: str
    principal: str
    identity: dict[str, Any]
    agent: str | None
    address: str

    def elsewhere(self, address: str, agent: str | None) -> Caller:
        """The same identity, used from another place by another program."""
        return self._replace(address=address, agent=agent)


class Call(NamedTuple):
    """What is called. `error` is a code and a message."""

    source: str
    name: str
    asked: dict[str, Any] | None = None
    answered: dict[str, Any] | None = None
    error: tuple[str, str] | None = None
    more: dict[str, Any] | None = None
    reads: bool = True
    data: bool = False
    kind: str = "AwsApiCall"


class Form(NamedTuple):
    """A record without its time and ids, which change with each call."""

    head: str
    middle: str
    tail: str


def user(account: str, name: str, key: str, agent: str | None, address: str) -> Caller:
    """An IAM user with a long-lived key."""
    arn = f"arn:aws:iam::{account}:user/{name}"
    identity = {
        "type": "IAMUser",
        "principalId": f"AIDA{_letters(account + name)}",
        "arn": arn,
        "accountId": account,
        "accessKeyId": key,
        "userName": name,
    }
    return Caller(account, arn, identity, agent, address)


def role(account: str, name: str, session: str, agent: str | None, address: str) -> Caller:
    """A session of a role."""
    arn = f"arn:aws:iam::{account}:role/{name}"
    number = f"AROA{_letters(account + name)}"
    issuer = {"type": "Role", "principalId": number, "arn": arn, "accountId": account, "userName": name}
    identity = {
        "type": "AssumedRole",
        "principalId": f"{number}:{session}",
        "arn": f"arn:aws:sts::{account}:assumed-role/{name}/{session}",
        "accountId": account,
        "accessKeyId": f"ASIA{_letters(account + name + session)}",
        "sessionContext": {"sessionIssuer": issuer, "attributes": {"mfaAuthenticated": "false"}},
    }
    return Caller(account, arn, identity, agent, address)


def service(account: str, name: str) -> Caller:
    """A service of AWS that acts by itself."""
    host = f"{name}.amazonaws.com"
    return Caller(account, host, {"type": "AWSService", "invokedBy": host}, host, host)


def _letters(seed: str) -> str:
    chosen = random.Random(seed)
    return "".join(chosen.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", k=17))


def form(caller: Caller, call: Call, region: str) -> Form:
    """Everything of a record that does not change from call to call."""
    head = {"eventVersion": "1.11", "userIdentity": caller.identity}
    middle: dict[str, Any] = {
        "eventSource": f"{call.source}.amazonaws.com",
        "eventName": call.name,
        "awsRegion": region,
        "sourceIPAddress": caller.address,
    }
    if caller.agent is not None:
        middle["userAgent"] = caller.agent
    if call.error is not None:
        middle["errorCode"], middle["errorMessage"] = call.error
    middle["requestParameters"], middle["responseElements"] = call.asked, call.answered
    if call.more is not None:
        middle["additionalEventData"] = call.more
    tail = {
        "readOnly": call.reads,
        "eventType": call.kind,
        "managementEvent": not call.data,
        "recipientAccountId": caller.account,
        "eventCategory": "Data" if call.data else "Management",
    }
    return Form(f'{_json(head)[:-1]},"eventTime":"', f'",{_json(middle)[1:-1]},"requestID":"', f'",{_json(tail)[1:]}')


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


_CLOCK = [f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}Z" for s in range(_SECONDS_OF_DAY)]


def filled(form: Form, date: str, second: int, chance: random.Random) -> str:
    """One record: a form with a time and ids. `date` is as `2026-11-23`, `second` of the day."""
    ids = f"{chance.getrandbits(_ID_BITS):064x}"
    request = f"{ids[:8]}-{ids[8:12]}-{ids[12:16]}-{ids[16:20]}-{ids[20:32]}"
    event = f"{ids[32:40]}-{ids[40:44]}-{ids[44:48]}-{ids[48:52]}-{ids[52:]}"
    return f'{form.head}{date}T{_CLOCK[second]}{form.middle}{request}","eventID":"{event}{form.tail}'


def split(at_us: int) -> tuple[str, int]:
    """A time as a date and the second of its day."""
    seconds = at_us // US_PER_S
    return to_datetime(at_us).date().isoformat(), seconds % _SECONDS_OF_DAY
