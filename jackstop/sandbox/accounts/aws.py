"""AWS IAM's service-specific credentials, which for bedrock.amazonaws.com are Bedrock's long-term API keys.

The query protocol in XML, as botocore 1.44 (`iam/2010-05-08`) writes and reads it. Quirk: at most two by user.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from jackstop.clock import to_datetime
from jackstop.sandbox.accounts import mint
from jackstop.sandbox.accounts.api import Answer, Api, Call
from jackstop.sandbox.accounts.keys import Key, new_key
from jackstop.sandbox.errors import ProviderError
from jackstop.sandbox.exchange import Headers

_XML = b"text/xml"
_NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"
_SIGNED = re.compile(rb"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/")
_CODES = {400: "ValidationError", 403: "MissingAuthenticationToken", 404: "NoSuchEntity", 409: "LimitExceeded"}
_MOST_KEYS = 2
_DAY_US = 86_400_000_000
_LONGEST_DAYS = 36_600
_SERVICE = "bedrock.amazonaws.com"
_STATUS = {"active": "Active", "disabled": "Inactive", "expired": "Expired"}

Fields = dict[str, str]


class Iam:
    """iam.amazonaws.com, which knows its callers by their signature."""

    provider = "aws"

    def secret(self, headers: dict[bytes, bytes]) -> bytes:
        """The access key id: the secret key itself is never sent."""
        found = _SIGNED.match(headers.get(b"authorization", b""))
        if found is None:
            raise ProviderError(403, "Request is missing Authentication Token")
        return found[1]

    def error(self, error: ProviderError, request_id: str) -> bytes:
        code = error.code or _CODES.get(error.status, "ServiceFailure")
        kind = "Sender" if error.status < 500 else "Receiver"
        detail = f"<Type>{kind}</Type><Code>{code}</Code><Message>{escape(error.message)}</Message>"
        return (
            f'<ErrorResponse xmlns="{_NAMESPACE}"><Error>{detail}</Error>'
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        ).encode()

    def headers(self, request_id: str) -> Headers:
        return [(b"x-amzn-requestid", request_id.encode())]


def _element(name: str, value: object) -> str:
    return "" if value is None else f"<{name}>{escape(str(value))}</{name}>"


def _moment(ts_us: int | None) -> str | None:
    return None if ts_us is None else to_datetime(ts_us).strftime("%Y-%m-%dT%H:%M:%SZ")


def _shown(call: Call, key: Key, *, secret: str | None = None) -> str:
    return "".join(
        (
            _element("UserName", key.place["user"]),
            _element("ServiceSpecificCredentialId", key.id),
            _element("ServiceName", _SERVICE),
            _element("Status", _STATUS.get(key.state_at(call.now_us), "Inactive")),
            _element("CreateDate", _moment(key.created_us)),
            _element("ExpirationDate", _moment(key.expires_us)),
            _element("ServiceCredentialAlias", key.name),
            _element("ServiceCredentialSecret", secret),
        )
    )


def _credential(call: Call, form: Fields) -> Key:
    key_id, user = form.get("ServiceSpecificCredentialId", ""), form.get("UserName")
    found = call.accounts.keys.find("bedrock", key_id)
    if found is None or found.state == "deleted" or (user is not None and user != found.place["user"]):
        raise ProviderError(404, f"No such credential {key_id} exists")
    return found


def _user(form: Fields) -> str:
    if not form.get("UserName"):
        raise ProviderError(400, "UserName is required here")
    return form["UserName"]


def _alias(user: str) -> str:
    return f"{user}-at-{mint.number(12)}"


def _create(call: Call, form: Fields) -> str:
    if form.get("ServiceName") != _SERVICE:
        raise ProviderError(
            404, f"Service {form.get('ServiceName')} is not supported for this operation", code="NotSupportedService"
        )
    user, days = _user(form), form.get("CredentialAgeDays")
    if days is not None and (not days.isascii() or not days.isdigit() or not 1 <= int(days) <= _LONGEST_DAYS):
        raise ProviderError(400, f"CredentialAgeDays wants 1 to {_LONGEST_DAYS}")
    if len(call.accounts.keys.of("bedrock", user=user)) >= _MOST_KEYS:
        raise ProviderError(409, f"Cannot exceed quota for ServiceSpecificCredentialsPerUser: {_MOST_KEYS}")
    expires_us = None if days is None else call.now_us + int(days) * _DAY_US
    secret = mint.secret("bedrock")
    key = new_key(
        "bedrock", mint.ident("ACCA", 16).upper(), _alias(user), secret, {"user": user}, call.now_us, expires_us
    )
    call.accounts.keys.add(key)
    return f"<ServiceSpecificCredential>{_shown(call, key, secret=secret)}</ServiceSpecificCredential>"


def _list(call: Call, form: Fields) -> str:
    everyone = form.get("AllUsers") == "true"
    keys = call.accounts.keys.of("bedrock") if everyone else call.accounts.keys.of("bedrock", user=_user(form))
    if form.get("ServiceName", _SERVICE) != _SERVICE:
        keys = []
    members = "".join(f"<member>{_shown(call, key)}</member>" for key in keys)
    return f"<ServiceSpecificCredentials>{members}</ServiceSpecificCredentials><IsTruncated>false</IsTruncated>"


def _update(call: Call, form: Fields) -> str:
    key, status = _credential(call, form), form.get("Status")
    if status not in ("Active", "Inactive"):
        raise ProviderError(400, "Status wants Active or Inactive")
    if status == "Active":
        key.revive()
    else:
        key.end("disabled", call.now_us)
    return ""


def _reset(call: Call, form: Fields) -> str:
    """A new secret for the same id. The old one ends."""
    old = _credential(call, form)
    old.end("deleted", call.now_us)
    secret = mint.secret("bedrock")
    fresh = new_key("bedrock", old.id, old.name, secret, old.place, call.now_us, old.expires_us)
    call.accounts.keys.add(fresh)
    return f"<ServiceSpecificCredential>{_shown(call, fresh, secret=secret)}</ServiceSpecificCredential>"


def _delete(call: Call, form: Fields) -> str:
    _credential(call, form).end("deleted", call.now_us)
    return ""


_ACTIONS: dict[str, Callable[[Call, Fields], str]] = {
    "CreateServiceSpecificCredential": _create,
    "ListServiceSpecificCredentials": _list,
    "UpdateServiceSpecificCredential": _update,
    "ResetServiceSpecificCredential": _reset,
    "DeleteServiceSpecificCredential": _delete,
}


def _query(call: Call) -> object:
    form = {name: values[-1] for name, values in parse_qs(call.exchange.body.decode("utf-8", "replace")).items()}
    action = form.get("Action", "")
    if action not in _ACTIONS:
        raise ProviderError(400, f"sandbox: {action or 'nothing'} is not practised", code="InvalidAction")
    result = _ACTIONS[action](call, form)
    inner = f"<{action}Result>{result}</{action}Result>" if result else ""
    about = f"<ResponseMetadata><RequestId>{call.exchange.request_id}</RequestId></ResponseMetadata>"
    body = f'<{action}Response xmlns="{_NAMESPACE}">{inner}{about}</{action}Response>'
    return Answer(body.encode(), content_type=_XML)


API = Api("/aws/iam", Iam(), [("POST", "", _query), ("POST", "/", _query)])
