"""Findings of a hunt as OCSF 1.5.0 Detection Findings, one for each."""

from __future__ import annotations

from typing import Any

from jackstop.cases.finding import Finding
from jackstop.cases.steps import About
from jackstop.cases.turn import named
from jackstop.notify import ocsf
from jackstop.notify.message import Message
from jackstop.notify.outbox import News

_PRODUCED_BY = "hunt"


def finding(found: Finding, what: About, now_us: int) -> dict[str, Any]:
    """One finding, with what its detection means. Its `metadata.uid` is the same however often the hunt is made."""
    news = News(
        kind="case.opened",
        severity=found.severity,
        title=f"{what.title}: {named(found.entity)}",
        text=what.meaning or what.title,
        case_id=None,
        uid=found.uid,
        group_key=found.uid,
        facts={
            "entity": found.entity,
            "detections": found.detection,
            "attack": ", ".join(what.attack),
            "atlas": ", ".join(what.atlas),
            "first_seen_us": found.first_seen,
            "last_seen_us": found.last_seen,
            "findings": found.count,
            "remediation": "\n".join(what.what_to_do),
        },
    )
    made = ocsf.finding(Message(found.uid, _PRODUCED_BY, (news,), (now_us,)))
    made["metadata"]["log_name"] = _PRODUCED_BY
    made["finding_info"]["data_sources"] = list(found.sources)
    made["evidences"] = [{"name": "jackstop finding", "data": {**found.evidence}, "verdict_id": 4}]
    made["unmapped"] = {"detection": found.detection, "cause": found.cause}
    return made
