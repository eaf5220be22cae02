"""What is done about a finding: a pure function of the finding, the mode in force and the settings."""

from __future__ import annotations

from typing import Literal

import msgspec

from jackstop.cases.finding import Finding
from jackstop.settings import Mode, ResponseSettings

Action = Literal["note", "alert", "throttle", "quarantine", "rotate", "contain"]
State = Literal["", "applied", "observed", "awaiting"]

CANARY = "canary_used"
"""The detection of a canary's use; it acts whatever the mode is."""


class Decision(msgspec.Struct, frozen=True):
    """What to do. `state` is that of the response, empty where nothing but a note or an alert is due.

    `alert` says that news go out, `ask` that the owner is asked whether it was they.
    """

    action: Action
    state: State = ""
    alert: bool = False
    ask: bool = False


def decide(
    finding: Finding,
    mode: Mode,
    rules: ResponseSettings,
    *,
    canary: bool = False,
    only_alert: bool = False,
    outage: bool = False,
) -> Decision:
    """`mode` is that of the default rules for the finding's key; `canary` says that this key is one.

    What cannot be done to the finding's entity (nobody quarantines a team) is alerted, and so is what a person wants
    no more than an alert about (`only_alert`), and all that a hunt found. `outage`: to contain the entity is one.
    """
    if finding.hunted:
        is_quiet = _wanted(finding, rules, canary=False) == "note"
        return Decision("note") if is_quiet else Decision("alert", alert=True)
    canary = canary or finding.detection == CANARY
    action = _wanted(finding, rules, canary=canary)
    if only_alert and not canary and action != "note":
        return Decision("alert", alert=True)
    if action in {"note", "alert"}:
        return Decision(action, alert=action == "alert")
    kind = finding.entity.partition(":")[0]
    if kind == "credential":
        # Only arithmetic asks for this by itself: what a provider reports beyond the books.
        allowed = rules.contain == "act" and (not outage or rules.contain_outage == "act")
        acts = finding.response == "contain" and allowed
        return Decision("contain", "applied" if acts else "awaiting", alert=True)
    if kind != "key":
        return Decision("alert", alert=True)
    if mode == "observe" and not canary:
        return Decision(action, "observed", alert=True)
    return Decision(action, "applied", alert=True, ask=action == "throttle")


def _wanted(finding: Finding, rules: ResponseSettings, *, canary: bool) -> Action:
    if canary:
        return "quarantine"
    if finding.response in {"note", "alert", "throttle", "quarantine"}:
        return finding.response  # type: ignore[return-value]
    by_severity: dict[str, Action] = {
        "medium": rules.medium,
        "high": rules.high,
        "critical": rules.critical,
    }
    return by_severity.get(finding.severity, "note")
