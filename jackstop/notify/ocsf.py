"""OCSF 1.5.0 (schema.ocsf.io): cases as Detection Findings, events as API Activities."""

from __future__ import annotations

from typing import Any

from jackstop import __version__
from jackstop.notify.message import Message, is_link

VERSION = "1.5.0"
_PRODUCT = {"name": "Jackstop", "vendor_name": "Jackstop", "version": __version__}

_FINDINGS, _DETECTION_FINDING = 2, 2004
_APPLICATION, _API_ACTIVITY = 6, 6003
_SEVERITIES = {"info": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
_SEVERITY_NAMES = ("Unknown", "Informational", "Low", "Medium", "High", "Critical")
_ACTIVITIES = {"case.opened": (1, "Create"), "case.closed": (3, "Close")}
_STATES = {"case.opened": (1, "New"), "case.closed": (4, "Resolved")}
_VERDICTS = {"hijack": 2, "misuse": 2, "benign": 5}
_RULE = 1

# Names of the techniques that detections cite (attack.mitre.org and atlas.mitre.org, read 2026-11-23).
_TECHNIQUES = {
    "T1078": "Valid Accounts",
    "T1078.004": "Cloud Accounts",
    "T1090": "Proxy",
    "T1098": "Account Manipulation",
    "T1110": "Brute Force",
    "T1496": "Resource Hijacking",
    "T1496.004": "Cloud Service Hijacking",
    "T1526": "Cloud Service Discovery",
    "T1528": "Steal Application Access Token",
    "T1530": "Data from Cloud Storage",
    "T1550": "Use Alternate Authentication Material",
    "T1550.001": "Application Access Token",
    "T1552": "Unsecured Credentials",
    "T1580": "Cloud Infrastructure Discovery",
    "AML.T0012": "Valid Accounts",
    "AML.T0034": "Cost Harvesting",
    "AML.T0040": "AI Model Inference API Access",
    "AML.T0055": "Unsecured Credentials",
}


def finding(message: Message) -> dict[str, Any]:
    """One case as it stands, as a Detection Finding."""
    newest, facts = message.newest, message.facts
    activity_id, activity = _ACTIVITIES.get(message.kind, (2, "Update"))
    status_id, status = _STATES.get(message.kind, (2, "In Progress"))
    if newest.kind == "case.closed" and facts.get("verdict") == "benign":
        status_id, status = 3, "Suppressed"
    severity_id = _SEVERITIES.get(message.severity, 0)
    found: dict[str, Any] = {
        "category_uid": _FINDINGS,
        "category_name": "Findings",
        "class_uid": _DETECTION_FINDING,
        "class_name": "Detection Finding",
        "activity_id": activity_id,
        "activity_name": activity,
        "type_uid": _DETECTION_FINDING * 100 + activity_id,
        "type_name": f"Detection Finding: {activity}",
        "time": message.at_us[-1] // 1000,
        "severity_id": severity_id,
        "severity": _SEVERITY_NAMES[severity_id],
        "status_id": status_id,
        "status": status,
        "is_alert": newest.kind != "case.closed",
        "message": newest.title,
        "metadata": {"version": VERSION, "uid": message.uid, "product": _PRODUCT, "log_name": "cases"},
        "finding_info": _finding_info(message),
        "resources": [_resource(facts)],
        "evidences": [_evidence(facts)],
        "remediation": _remediation(message),
        "unmapped": {"installation": message.installation, "case_id": newest.case_id, "earlier": list(message.earlier)},
    }
    for name, fact in (("start_time", "first_seen_us"), ("end_time", "last_seen_us")):
        if isinstance(facts.get(fact), int):
            found[name] = int(facts[fact]) // 1000
    if isinstance(facts.get("findings"), int):
        found["count"] = facts["findings"]
    return found


def _finding_info(message: Message) -> dict[str, Any]:
    facts = message.facts
    detections = _listed(facts.get("detections"))
    info: dict[str, Any] = {
        "uid": message.subject_id,
        "title": message.newest.title,
        "desc": message.newest.text,
        "modified_time": message.at_us[-1] // 1000,
        "data_sources": ["gate"],
        "types": detections,
        "attacks": [_attack(uid) for uid in _listed(facts.get("attack")) + _listed(facts.get("atlas"))],
    }
    if detections:
        info["analytic"] = _analytic(detections[0])
        info["related_analytics"] = [_analytic(name) for name in detections[1:]]
    for name, fact in (("first_seen_time", "first_seen_us"), ("last_seen_time", "last_seen_us")):
        if isinstance(facts.get(fact), int):
            info[name] = int(facts[fact]) // 1000
    links = [target for _, target in message.actions if is_link(target)]
    if links:
        info["src_url"] = links[0]
    return {name: value for name, value in info.items() if value not in ("", [])}


def _analytic(name: str) -> dict[str, Any]:
    return {"uid": name, "name": name, "type_id": _RULE, "type": "Rule"}


def _attack(uid: str) -> dict[str, Any]:
    """`T1496.004` is a sub-technique of `T1496`; ATLAS numbers (`AML.T0034`) are techniques of their own."""
    technique, _, sub = uid.rpartition(".") if uid.count(".") > uid.startswith("AML.") else (uid, "", "")
    found: dict[str, Any] = {"technique": {"uid": technique, "name": _TECHNIQUES.get(technique, technique)}}
    if sub:
        found["sub_technique"] = {"uid": uid, "name": _TECHNIQUES.get(uid, uid)}
    return found


def _resource(facts: dict[str, str | int]) -> dict[str, Any]:
    """What was affected: a key, a credential, an owner, a team or the organisation."""
    kind, _, name = str(facts.get("entity", "org")).partition(":")
    resource: dict[str, Any] = {"type": kind, "uid": name or kind, "name": str(facts.get("key") or name or kind)}
    if facts.get("team"):
        resource["group"] = {"name": str(facts["team"])}
    if facts.get("owner"):
        resource["owner"] = _person(str(facts["owner"]))
    return resource


def _person(name: str) -> dict[str, Any]:
    """OCSF asks for none of these, and readers of it for all."""
    account = {"uid": name, "name": name, "type_id": 99, "type": "Jackstop"}
    return {"uid": name, "name": name, "type_id": 0, "type": "Unknown", "account": account}


def _evidence(facts: dict[str, str | int]) -> dict[str, Any]:
    verdict = _VERDICTS.get(str(facts.get("verdict", "")), 4)
    return {"name": "jackstop case", "data": dict(facts), "verdict_id": verdict}


def _remediation(message: Message) -> dict[str, Any]:
    steps = [f"{label}: {target}" for label, target in message.actions]
    said = str(message.facts.get("remediation", ""))
    desc = "\n".join(part for part in (said, *steps) if part) or "see the case in Jackstop"
    links = [target for _, target in message.actions if is_link(target)]
    return {"desc": desc, "references": links} if links else {"desc": desc}


def _listed(text: str | int | None) -> list[str]:
    return [part.strip() for part in str(text or "").split(",") if part.strip()]


# -- events --------------------------------------------------------------------------------------------------------

_READS = frozenset({"list_models", "read_config", "data_read", "identity"})
_DIRECT = frozenset(
    {
        "action", "action_class", "api_version", "asn", "as_org", "client", "country", "credential_id", "error_code",
        "event_id", "gate_id", "key_id", "model", "outcome", "owner", "provider", "reason", "referer_host",
        "request_id", "service", "session", "source", "src_ip", "status", "team", "ts", "user_agent", "seen_ts",
        "latency_us", "principal", "error_message",
    }
)  # fmt: skip


def activity(row: dict[str, Any]) -> dict[str, Any]:
    """One event as an API Activity. What OCSF has no place for stands in `unmapped` under its own name."""
    activity_id, name = (2, "Read") if row.get("action_class") in _READS else (1, "Create")
    succeeded = row.get("outcome") == "ok"
    found = {
        "category_uid": _APPLICATION,
        "category_name": "Application Activity",
        "class_uid": _API_ACTIVITY,
        "class_name": "API Activity",
        "activity_id": activity_id,
        "activity_name": name,
        "type_uid": _API_ACTIVITY * 100 + activity_id,
        "type_name": f"API Activity: {name}",
        "time": row["ts"] // 1000,
        "severity_id": 1,
        "severity": "Informational",
        "status_id": 1 if succeeded else 2,
        "status": "Success" if succeeded else "Failure",
        "status_code": row.get("error_code"),
        "status_detail": row.get("reason") or row.get("outcome"),
        "metadata": _event_metadata(row),
        "actor": _actor(row),
        "api": _api(row),
        "src_endpoint": _endpoint(row),
        "http_request": {"user_agent": row.get("user_agent"), "referrer": row.get("referer_host")},
        "http_response": {"code": row.get("status") or 0, "latency": (row.get("latency_us") or 0) // 1000},
        "resources": [{"type": "model", "name": row.get("model"), "uid": row.get("credential_id")}],
        "unmapped": {column: value for column, value in row.items() if column not in _DIRECT},
    }
    done: dict[str, Any] = _without_nothing(found)
    return done


def _event_metadata(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": VERSION,
        "uid": row.get("event_id"),
        "product": _PRODUCT,
        "log_name": row.get("source"),
        "log_provider": row.get("gate_id"),
        "logged_time": (row.get("seen_ts") or row["ts"]) // 1000,
    }


def _actor(row: dict[str, Any]) -> dict[str, Any]:
    user = {
        "uid": row.get("key_id") or row.get("principal") or "unknown",
        "name": row.get("owner"),
        "groups": [{"name": row.get("team")}] if row.get("team") else None,
    }
    session = {"uid": row.get("session")} if row.get("session") else None
    return {"user": user, "session": session, "app_name": row.get("client")}


def _api(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "operation": row.get("action") or "unknown",
        "version": row.get("api_version"),
        "service": {"name": row.get("provider") or row.get("service") or "unknown"},
        "request": {"uid": row.get("request_id") or row.get("event_id") or "unknown"},
        "response": {
            "code": row.get("status") or 0,
            "error": row.get("error_code"),
            "error_message": row.get("error_message"),
        },
    }


def _endpoint(row: dict[str, Any]) -> dict[str, Any]:
    """Where from; a row without an address still has to name something."""
    number = row.get("asn")
    return {
        "ip": row.get("src_ip"),
        "name": None if row.get("src_ip") else "unknown",
        "autonomous_system": {"number": number, "name": row.get("as_org")} if number else None,
        "location": {"country": row["country"]} if row.get("country") else None,
    }


def _without_nothing(value: Any) -> Any:
    """Leave out what is not known: an OCSF attribute is there with a value, or not at all."""
    if isinstance(value, dict):
        return {name: _without_nothing(each) for name, each in value.items() if each not in (None, "", {}, [])}
    if isinstance(value, list):
        return [_without_nothing(each) for each in value]
    return value
