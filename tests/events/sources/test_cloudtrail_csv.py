"""CloudTrail's records in rows of CSV: the same events as from JSON, as far as CSV can tell.

No export of Athena's is at hand: rows are made from real records as Athena's table and its engine print them.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from jackstop.events.schema import COLUMNS, Event
from jackstop.events.sources import cloudtrail
from jackstop.events.sources.entry import UnreadableEntry
from tests.events.sources.trail_samples import ORIGIN, call, event_of, needs_shared, records

ISSUER = dict.fromkeys(("type", "principalid", "arn", "accountid", "username"))
ATHENA: dict[str, Any] = {
    **dict.fromkeys(("type", "principalid", "arn", "accountid", "invokedby", "accesskeyid", "username")),
    "onbehalfof": dict.fromkeys(("userid", "identitystorearn")),
    "sessioncontext": {
        "attributes": dict.fromkeys(("mfaauthenticated", "creationdate")),
        "sessionissuer": ISSUER,
        "ec2roledelivery": None,
    },
}
LAKE: dict[str, Any] = {
    **dict.fromkeys(("type", "principalid", "arn", "accountid", "accesskeyid", "username")),
    "sessioncontext": {
        "attributes": dict.fromkeys(("creationdate", "mfaauthenticated")),
        "sessionissuer": ISSUER,
        "sourceidentity": None,
    },
    "onbehalfof": dict.fromkeys(("userid", "identitystorearn")),
    "inscopeof": dict.fromkeys(("sourcearn", "sourceaccount")),
    "invokedby": None,
    "identityprovider": None,
}
"""The fields of `useridentity` in the two tables, in their order."""


def printed(value: Any, form: Any) -> str:
    """A struct as Trino prints it: names and values without quotes, `null` for what is missing."""
    if form is None:
        return "null" if value in {None, ""} else str(value)
    if not isinstance(value, dict):
        return "null"
    held = {name.lower(): inner for name, inner in value.items()}
    return "{" + ", ".join(f"{name}={printed(held.get(name), of)}" for name, of in form.items()) + "}"


def athena(record: dict[str, Any]) -> dict[str, str]:
    row = {}
    for name, value in record.items():
        if name == "userIdentity":
            row["useridentity"] = printed(value, ATHENA)
        elif isinstance(value, dict | list):
            row[name.lower()] = json.dumps(value)
        else:
            row[name.lower()] = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    return row


def lake(record: dict[str, Any]) -> dict[str, str]:
    row = {}
    for name, value in record.items():
        if name == "userIdentity":
            row[name] = printed(value, LAKE)
        elif isinstance(value, dict):
            texts = {key: each if isinstance(each, str) else json.dumps(each) for key, each in value.items()}
            row[name] = "{" + ", ".join(f"{key}={text}" for key, text in texts.items()) + "}"
        else:
            row[name] = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    row["eventTime"] = record["eventTime"].replace("T", " ").replace("Z", ".000")
    return row


def small(row: dict[str, str]) -> dict[str, str]:
    return {name.lower(): text for name, text in row.items()}


def differences(one: Event, other: Event) -> dict[str, tuple[Any, Any]]:
    pairs = ((name, (getattr(one, name), getattr(other, name))) for name in COLUMNS)
    return {name: pair for name, pair in pairs if pair[0] != pair[1]}


@needs_shared()
@pytest.mark.parametrize("folder", ["stratus", "invictus_aws"])
def test_real_records_as_rows_of_athena(folder: str) -> None:
    for record in records(folder):
        row = athena(record)
        assert cloudtrail.claims(row)
        assert differences(cloudtrail.read(cloudtrail.unwrapped(row), ORIGIN), event_of(record)) == {}


@needs_shared()
@pytest.mark.parametrize("folder", ["stratus", "invictus_aws"])
def test_real_records_as_rows_of_lake(folder: str) -> None:
    """Lists and objects within maps are JSON in a text, so that a target named by a list is that text."""
    for record in records(folder):
        row = lake(record)
        assert cloudtrail.claims(row)
        assert cloudtrail.unwrapped(row) == cloudtrail.unwrapped(small(row))
        found = differences(cloudtrail.read(cloudtrail.unwrapped(row), ORIGIN), event_of(record))
        if record["eventName"] in {"GetParameters", "PutEventSelectors"}:
            found.pop("target_id", None)
            found.pop("markers", None)
        assert found == {}


def test_a_row_of_a_bearer_key() -> None:
    record = call(additionalEventData={"callWithBearerToken": True, "inferenceRegion": "eu-west-1"})
    for row in (athena(record), lake(record)):
        event = cloudtrail.read(cloudtrail.unwrapped(row), ORIGIN)
        assert (event.key_kind, event.inference_region, event.model) == ("bearer", "eu-west-1", "anthropic.claude-v2")


def test_a_person_of_identity_center() -> None:
    identity = {
        "type": "IdentityCenterUser",
        "accountId": "1",
        "onBehalfOf": {"userId": "544894e8", "identityStoreArn": "a"},
    }
    event = cloudtrail.read(cloudtrail.unwrapped(athena(call(userIdentity=identity))), ORIGIN)
    assert event.principal == "544894e8"


def test_an_empty_user_agent_cannot_be_told_from_none() -> None:
    assert cloudtrail.read(cloudtrail.unwrapped(athena(call(userAgent=""))), ORIGIN).ua_state == "absent"


@pytest.mark.parametrize(
    "identity", ["", "null", "{", "{}", "{type", "{type=}", "{sessioncontext=", "{arn=, arn=}", "x" * 99]
)
def test_structs_of_any_form(identity: str) -> None:
    row = athena(call()) | {"useridentity": identity, "requestparameters": identity}
    assert cloudtrail.read(cloudtrail.unwrapped(row), ORIGIN).action == "InvokeModel"


def test_a_row_without_an_id() -> None:
    with pytest.raises(UnreadableEntry):
        cloudtrail.unwrapped(athena(call()) | {"eventid": ""})


def test_rows_are_no_records() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(athena(call())), type=cloudtrail.SHAPE)
