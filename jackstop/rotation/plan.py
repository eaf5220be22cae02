"""The plan of a rotation or a containment: which steps in which order, and what they mean for applications.

A pure function of what the provider's driver can do and of what is there; it is written down before the first step.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from jackstop.providers.drivers.driver import Driver

Act = Literal["rotate", "contain"]
Step = Literal[
    "note",
    "create",
    "standby",
    "ask",
    "verify",
    "stop",
    "switch",
    "drain",
    "watch",
    "disable",
    "wait",
    "delete",
    "refused",
    "discard",
]

WORDS: dict[Step, str] = {
    "note": "write down which keys are there",
    "create": "make a new key",
    "standby": "take the standby that was deposited",
    "ask": "wait for a person to bring a new key",
    "verify": "test the new key with a free call",
    "stop": "stop using the credential: applications fail from here on",
    "switch": "give the new key to the gates",
    "drain": "wait until no request with the old key is under way",
    "watch": "see that nobody else uses the old key",
    "disable": "disable the old key",
    "wait": "leave time to take that back",
    "delete": "delete the old key",
    "refused": "see that the provider refuses the old key",
    "discard": "delete the key that was made and is not used",
}


class Plan(msgspec.Struct, frozen=True):
    """What is to be done. `outage` says that applications fail until a person has brought a new key.

    `by_person` says that somebody has to end the old key at the provider: no API does.
    """

    act: Act
    steps: tuple[Step, ...]
    outage: bool
    by_person: bool


def plan(act: Act, driver: Driver | None, *, standby: bool = False, brought: bool = False, stop: bool = False) -> Plan:
    """`driver` is None for a credential without an administration. `brought`: a person has given the new secret.

    `stop` contains without waiting for a second key, which is an outage though there may be one.
    """
    verbs = driver.verbs if driver is not None else frozenset()
    creates = "create" in verbs and not brought
    source = _source(creates=creates, brought=brought, standby=standby)
    notes: list[Step] = ["note"] if "list" in verbs else []
    ends: list[Step] = []
    if "disable" in verbs:
        ends += ["disable"] if act == "contain" or "delete" not in verbs else ["disable", "wait"]
    if "delete" in verbs:
        ends.append("delete")
    outage = act == "contain" and (stop or source == ["ask"])
    if outage:
        # What is stolen is stopped first; the way back comes behind.
        dead: list[Step] = [*ends, "refused"] if ends else []
        steps: list[Step] = ["stop", *notes, *dead, "ask", "verify", "switch"]
        if not ends:
            steps.append("refused")
    else:
        steps = [*notes, *source, "verify", "switch", "drain"]
        if act == "rotate" and driver is not None and driver.last_used:
            steps.append("watch")
        steps += [*ends, "refused"]
    return Plan(act, tuple(steps), outage, by_person=not ends)


def by_hand(act: Act) -> Plan:
    """What is done to a credential without an administration and without a standby: at once, and here alone."""
    return Plan(act, ("stop",) if act == "contain" else ("switch",), outage=act == "contain", by_person=True)


def _source(*, creates: bool, brought: bool, standby: bool) -> list[Step]:
    """Where the new secret comes from."""
    if brought:
        return []
    if creates:
        return ["create"]
    return ["standby"] if standby else ["ask"]


def words(made: Plan, driver: Driver | None) -> list[str]:
    """The plan for a person to read before anything is done."""
    lines = [f"{number}. {WORDS[step]}" for number, step in enumerate(made.steps, 1)]
    if made.outage:
        lines.append(
            "This is an outage: no second key takes over, so applications that use this credential fail until somebody "
            "brings one. A standby avoids it: jackstop credential standby NAME."
        )
    elif made.act == "contain":
        lines.append("Applications notice nothing: they hold Jackstop's keys, and a new provider key takes over.")
    if driver is not None and driver.kind == "two_slot" and "create" in made.steps:
        lines.append("The new key takes the other slot: whoever uses that one's key without Jackstop is refused then.")
    if made.by_person:
        whose = "its provider" if driver is None else driver.name
        lines.append(f"No API of {whose} ends a key: a person has to end the old one there, and is told when.")
    return lines
