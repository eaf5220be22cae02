"""CloudTrail's records in rows of CSV, as Athena and CloudTrail Lake export them.

Athena's table is that of docs.aws.amazon.com/athena/latest/ug/create-cloudtrail-table.html, with parameters as JSON;
Lake's that of docs.aws.amazon.com/awscloudtrail/latest/userguide/query-supported-event-schemas.html, with parameters as
maps; both read on 2026-11-23. Structs and maps come as the engine prints them, `{type=IAMUser, sessioncontext={…}}`,
without quotes: names that IAM allows have neither space nor brace, so that `, name=` can only begin the next field.
What is missing and what is empty are the same in CSV: an empty user agent reads as absent.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from jackstop.events.sources.cloudtrail_shape import Identity, Insight, Issuer, OnBehalfOf, Record, SessionContext
from jackstop.events.sources.entry import UnreadableEntry

_PART = re.compile(r"\{(?:([A-Za-z]\w*)=)?|\}|, ([A-Za-z]\w*)=")
"""Where a struct begins, with its first field; where one ends; where the next field begins."""

_NO = frozenset({"", "null", "-"})


def is_row(record: dict[str, Any]) -> bool:
    """Whether it is a row of such an export rather than a record."""
    return "eventid" in record or ("eventID" in record and isinstance(record.get("userIdentity"), str))


def of_row(row: dict[str, Any]) -> Record:
    """The record of a row. Raises UnreadableEntry."""
    cells = {name.lower(): text for name, text in row.items() if isinstance(text, str) and text not in _NO}
    if "eventid" not in cells:
        raise UnreadableEntry("it has no eventID")
    return Record(
        event_id=cells["eventid"],
        event_time=cells.get("eventtime"),
        event_source=cells.get("eventsource"),
        event_name=cells.get("eventname"),
        event_type=cells.get("eventtype"),
        event_category=cells.get("eventcategory"),
        aws_region=cells.get("awsregion"),
        source_ip=cells.get("sourceipaddress"),
        user_agent=cells.get("useragent"),
        error_code=cells.get("errorcode"),
        error_message=cells.get("errormessage"),
        user_identity=_identity(cells.get("useridentity", "")),
        request_id=cells.get("requestid"),
        recipient_account_id=cells.get("recipientaccountid"),
        read_only=cells.get("readonly"),
        management_event=cells.get("managementevent"),
        session_credential_from_console=cells.get("sessioncredentialfromconsole"),
        request_parameters=_raw(cells.get("requestparameters", "")),
        response_elements=_raw(cells.get("responseelements", "")),
        additional_event_data=_raw(cells.get("additionaleventdata", "")),
        insight_details=_insight(cells.get("insightdetails")),
        insight_type=cells.get("insighttype"),
        insight_state=cells.get("insightstate"),
        insight_event_source=cells.get("insighteventsource"),
        insight_event_name=cells.get("insighteventname"),
    )


def _fields(text: str) -> dict[str, str]:
    """The fields of a struct or a map by their names; a struct within is a text of its own."""
    found: dict[str, str] = {}
    depth, name, start = 0, "", 0
    for part in _PART.finditer(text):
        opens, closes = text[part.start()] == "{", text[part.start()] == "}"
        depth += opens
        if depth == 1 and not (opens and part.start()):
            if name:
                found.setdefault(name, text[start : part.start()])
            name, start = part[1] or part[2] or "", part.end()
        depth -= closes
    if name:
        found.setdefault(name, text[start:])
    return found


def _small(text: str | None) -> dict[str, str]:
    """The fields of a struct by their names in small letters, without those that have no value."""
    return {name.lower(): value for name, value in _fields(text or "").items() if value not in _NO}


def _identity(text: str) -> msgspec.Raw:
    held = _small(text)
    if not held:
        return msgspec.Raw()
    issuer = _small(_small(held.get("sessioncontext")).get("sessionissuer"))
    person = _small(held.get("onbehalfof"))
    who = Identity(
        type=held.get("type"),
        arn=held.get("arn"),
        account_id=held.get("accountid"),
        access_key_id=held.get("accesskeyid"),
        user_name=held.get("username"),
        principal_id=held.get("principalid"),
        invoked_by=held.get("invokedby"),
        session_context=SessionContext(Issuer(issuer.get("arn"))),
        on_behalf_of=OnBehalfOf(person.get("userid")),
    )
    return msgspec.Raw(msgspec.json.encode(who))


def _raw(text: str) -> msgspec.Raw:
    """A column of parameters as JSON: it is some already, or a map as it is printed."""
    if not text.startswith("{") or text.startswith(('{"', "{}")):
        return msgspec.Raw(text.encode(errors="replace"))
    return msgspec.Raw(msgspec.json.encode(_fields(text)))


def _insight(text: str | None) -> Insight | None:
    held = _small(text)
    if not held:
        return None
    return Insight(held.get("state"), held.get("eventsource"), held.get("eventname"), held.get("insighttype"))
