"""What a detection's finding means and what to do about it, in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

_DETECTIONS = Path(__file__).parent.parent / "detections"
_NAME = re.compile(r"[a-z0-9_]+")

UNLAWFUL = (
    "What was asked or answered here may be unlawful to hold. Do not view, copy or forward it, not even as evidence.",
    "Preserve in place: change no retention, delete nothing, and keep whoever is not needed away from it.",
    "Counsel first: before reports to authorities or to the provider, some of which must be made in time.",
)


class About(msgspec.Struct, frozen=True):
    """What is known of a detection."""

    title: str
    meaning: str = ""
    what_to_do: tuple[str, ...] = ()
    attack: tuple[str, ...] = ()
    atlas: tuple[str, ...] = ()
    id: str = ""
    severity: str = ""


_OUR_OWN = {
    "overrun": About(
        "A request cost more than was held",
        "The bound of this provider, model and feature was too low. All of it is booked; its like is held at the "
        "context window from now on.",
        (
            "Check that the model is spelled as the provider bills it.",
            "Update Jackstop: a newer one may know the bound.",
        ),
    ),
    "clock_jump": About(
        "The clock jumped",
        "No budget window opens until the time is right, so that nobody gets tomorrow's budget today.",
        (
            "Look at `timedatectl` and at who may set the time.",
            "If the time is right as it is: `jackstop doctor --accept-clock`.",
        ),
    ),
    "shadow_usage": About(
        "A provider key is used outside the gate",
        "Only the gate may use this credential, and its provider reports more than the gate can have caused: somebody "
        "else has the key.",
        (
            "Contain it: `jackstop credential contain NAME`; `--plan` says first what that does to applications.",
            "If it is one of yours that calls the provider directly, give it a key of the gate instead.",
            "See when it began and what was used: `jackstop reconcile`.",
            "Find where the key leaked: repository, log, image, notebook, or a machine that holds it.",
        ),
    ),
    "reconcile_blind": About(
        "A provider's report cannot be read",
        "Nobody would notice if this credential was stolen: for an hour, what its provider reports has not been read, "
        "or it was not known which of the keys there is its own.",
        (
            "See what the provider says: `jackstop reconcile`.",
            "If its key is not known, say which it is: `jackstop credential link NAME --provider-key-id ID`.",
            "Mend the administration's key or its permission: `jackstop administration list`.",
        ),
    ),
    "provider_limit_changed": About(
        "A hard limit at the provider was changed",
        "Somebody raised, lowered or took away a limit that the provider keeps, which is the wall behind the budgets "
        "here. Jackstop leaves it as it is now.",
        (
            "See what is there and what is wanted: `jackstop credential limit NAME`.",
            "Ask who did it; the provider's own audit log says.",
            "If nobody should have, look for keys and users that they made.",
            "Set it again, or say that it is right now: `jackstop credential limit NAME AMOUNT/month`.",
        ),
    ),
    "provider_limit_unread": About(
        "A hard limit at the provider cannot be read",
        "For hours nobody has seen whether the limit that the provider keeps is still there.",
        (
            "See what the provider says: `jackstop credential limit NAME`.",
            "Mend the administration's key or its permission: `jackstop administration list`.",
        ),
    ),
    "audit_log_unread": About(
        "A provider's audit log cannot be read",
        "For an hour nobody has seen what is done to the account's keys, people and limits.",
        (
            "See whether the log is switched on at the provider; its owner has to do that once.",
            "Mend the administration's key or its permission: `jackstop administration list`.",
        ),
    ),
    "rotation_failing": About(
        "A rotation keeps failing",
        "A step of giving a credential a new key fails again and again; the key that is in use still works, or the "
        "old one is not ended yet.",
        (
            "Look at what it says: `jackstop credential rotations`.",
            "Mend the permission of the administration's key, or say what the place left open: it then goes on.",
            "To correct the place: `jackstop credential cancel NAME`, `credential link`, and begin again.",
        ),
    ),
    "old_key_works": About(
        "An old key has to be ended by a person",
        "A new key is in use, and no API of this provider ends the old one, which still works.",
        (
            "End it where the provider manages its keys.",
            "That it is refused is then seen by itself: `jackstop credential rotations`.",
            "If nothing can say so any more, end the waiting: `jackstop credential cancel NAME`.",
        ),
    ),
    "key_needed": About(
        "A credential needs a new key from a person",
        "No API of this provider makes keys, and no standby was deposited.",
        (
            "Make a key at the provider, and give it: `jackstop credential rotate NAME`; it is tested first.",
            "Or have another bring it, by a link that is good once: `jackstop credential invite NAME --to EMAIL`.",
            "Deposit a standby for the next time: `jackstop credential standby NAME`.",
        ),
    ),
}

_KEY_T1 = (
    "Ask the owner whether it was they, by a way that the thief of the key cannot see.",
    "If it was not: `jackstop cases respond {case} quarantine`, then `jackstop cases respond {case} rotate`.",
    "Give the new secret to the application alone.",
    "Find where the key leaked: repository, log, image, notebook, or the machine itself.",
    "Whatever lay beside it leaked too: rotate it as well (see the blast radius).",
    "Look at what the key read or made: files, batches, stored responses.",
    "If money was lost: `jackstop cases export {case} --format text`, and open a case at the provider with it.",
)
_KEY_T4 = (
    "The holder may be reselling the key: do not warn them before you have looked.",
    "Quarantine the key, and look at the owner's other keys and at keys issued lately on their word.",
    "Tell whoever answers for people; do not look into conversations, which are others' private ones.",
    "If content may be unlawful: `jackstop cases respond {case} unlawful` first.",
)
_KEY_T8 = (
    "The key itself may be safe: somebody uses the application that holds it. Rotating it does not help.",
    "Look at the application: sign-in before the endpoint, a limit per user, a cap on input and output.",
    "Have the application send its end users' ids (`user`, `metadata.user_id`), so that single ones can be stopped.",
    "Until then slow it down: `jackstop cases respond {case} throttle`.",
)
_CREDENTIAL = (
    "`jackstop cases respond {case} approve` stops the credential at the gate: applications fail until it is rotated.",
    "Make a new secret at the provider, `jackstop credential rotate NAME`, then end the old one at the provider.",
    "Look at the provider's own audit log: keys, users and limits that the thief made.",
)
_CANARY = (
    "Nobody should ever use this key: whoever did has read the place where it lies.",
    "Rotate everything else that lies there, and find out who could read it.",
)
_PLAYBOOK = {
    "canary_used": _CANARY,
    "resale_shape": _KEY_T4,
    "shared_key": _KEY_T4,
    "interleaved_conversations": _KEY_T4,
    "rewritten_shape": _KEY_T4,
    "flat_day": _KEY_T4,
    "end_user_fanout": _KEY_T8,
    "refusal_surge": (*_KEY_T8[:1], *_KEY_T4[3:]),
}
"""Where the steps are others than for a stolen key (T1)."""


@lru_cache(maxsize=256)
def about(detection: str) -> About:
    """What stands in the detection's description; its name alone where there is none."""
    if detection in _OUR_OWN:
        return _OUR_OWN[detection]
    plain = About(detection.replace("_", " ").capitalize())
    path = _DETECTIONS / f"{detection}.yaml"
    if not _NAME.fullmatch(detection) or not path.exists():
        return plain
    import yaml

    # Its tests, which come last, are most of the file and nothing for here.
    told: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8").partition("\ntests:")[0]) or {}
    return msgspec.convert({"title": plain.title, **told}, About, strict=False)


def next_steps(case_id: int, entity: str, detections: Sequence[str], *, unlawful: bool) -> list[str]:
    """What to do, most urgent first, each once."""
    lists: list[Sequence[str]] = [UNLAWFUL] if unlawful else []
    kind = entity.partition(":")[0]
    if kind == "credential":
        lists.append(_CREDENTIAL)
    elif kind in {"key", "owner"}:
        lists += [_PLAYBOOK.get(detection, _KEY_T1) for detection in detections if detection not in _OUR_OWN]
    lists += [about(detection).what_to_do for detection in detections]
    closing = "When it is over: `jackstop cases close {case} --verdict hijack`, `misuse` or `benign`."
    return [step.replace("{case}", str(case_id)) for step in (*in_one(lists), closing)]


def in_one(lists: Iterable[Sequence[str]]) -> list[str]:
    """Several lists of steps as one, each step once: in the order of the first, what only others have in its place.

    A step goes before the one that follows it in its own list, so that what is done last stays last.
    """
    found: list[str] = []
    for steps in lists:
        place = len(found)
        for step in reversed(tuple(dict.fromkeys(steps))):
            if step in found:
                place = found.index(step)
            else:
                found.insert(place, step)
    return found
