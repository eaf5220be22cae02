"""What the worker does for each step of a rotation: calls of the provider's driver, and nothing of the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, cast

from jackstop.clock import US_PER_S, iso
from jackstop.errors import UserError
from jackstop.providers import drivers
from jackstop.providers.drivers import trial
from jackstop.providers.drivers.driver import Administration, CallFailed, Driver, ProviderKey
from jackstop.rotation.task import Outcome, Task
from jackstop.secret import Secret

SETTLES_S = 60
"""For how long a new key may be refused before that counts: providers take a moment to know it everywhere."""
_LAST_USED_IS_ROUGH_US = 60 * US_PER_S
_LATER_S = 1
_ELSEWHERE_S = 60

_NOTHING_MADE = frozenset({"denied", "quota", "limited"})
"""Answers that say for certain that no key was made."""
_DONE = Outcome("done")
_UNKNOWN = (
    "it is not known which of the provider's keys this is ({ids}); "
    "say so: jackstop credential link {credential} --provider-key-id ID"
)


class _Slotted(Protocol):
    """A driver of two slots."""

    def slot_of(self, admin: Administration, place: Mapping[str, str], secret: Secret) -> str | None: ...


def perform(task: Task, now_us: int) -> Outcome:
    """Do one step. Never raises for what a provider does; a problem never holds a secret."""
    try:
        return _STEPS[task.step](task, now_us)
    except CallFailed as error:
        return Outcome("failed", error.problem, after_s=error.after_s)
    except UserError as error:
        return Outcome("failed", error.problem)


def created_name(uid: str) -> str:
    """What the keys are called that the rotation `uid` makes, so that they are found again after a kill."""
    return f"jackstop-{uid}"


def _driver(task: Task) -> Driver:
    return drivers.driver(task.driver)


def _admin(task: Task) -> Administration:
    return Administration(task.driver, task.admin_url, task.options, Secret(task.admin), task.ca)


def _note(task: Task, now_us: int) -> Outcome:  # noqa: ARG001 -- every step has the same arguments
    """Write down the keys that are there, and which of them is the credential's."""
    driver = _driver(task)
    found = driver.list(_admin(task), task.place)
    ids = [key.id for key in found]
    old_id = _slot(task) if driver.kind == "two_slot" else str(task.detail.get("old_id") or "")
    noted = Outcome("done", detail={"old_id": old_id, "known": ids})
    # Where no key is made, the new one need not wait until somebody knows which the old one is.
    if old_id in ids or (driver.kind == "assisted" and task.act == "contain"):
        return noted
    # A person may have ended it at the provider.
    if old_id and _try(task, task.old) == "refused":
        return noted
    return Outcome("failed", _UNKNOWN.format(ids=", ".join(ids) or "there is none", credential=task.credential))


def _slot(task: Task) -> str:
    """Which of two slots the secret is in: making that one anew instead of the other would be an outage."""
    return cast("_Slotted", _driver(task)).slot_of(_admin(task), task.place, Secret(task.old)) or ""


def _create(task: Task, now_us: int) -> Outcome:
    """Make a key. What an earlier try has made is deleted first: its secret is lost."""
    discarded = _discard(task, now_us)
    name, old_id = created_name(task.uid), str(task.detail["old_id"])
    try:
        made = _driver(task).create(_admin(task), task.place, name, beside=old_id, expires_s=task.expires_s)
    except CallFailed as error:
        if task.again or error.why not in _NOTHING_MADE:
            raise
        # A key that turns up from now on is somebody else's.
        return Outcome("failed", error.problem, error.after_s, {"nothing_made": task.number})
    detail = {**discarded.detail, "new_id": made.id, "expires_us": made.expires_us}
    return Outcome("done", detail=detail, fresh=made.secret.reveal().decode())


def _discard(task: Task, now_us: int) -> Outcome:  # noqa: ARG001 -- as above
    """Delete what this intent has made at the provider. Of two slots neither can be deleted, and nobody knows it.

    What no API deletes is said: nobody was told its secret.
    """
    driver, admin, old_id = _driver(task), _admin(task), str(task.detail.get("old_id") or "")
    if driver.kind != "overlap":
        return _DONE
    found = [key.id for key in driver.list(admin, task.place) if _is_left_over(key, task, created_name(task.uid))]
    if "delete" not in driver.verbs:
        return Outcome("done", detail={"left_over": found})
    for key_id in found:
        driver.delete(admin, task.place, key_id, keep=old_id)
    return _DONE


def _is_left_over(key: ProviderKey, task: Task, name: str) -> bool:
    """Made by this intent: called so, or of the provider's keys without names the one that it is known to have made.

    Where a try got lost, that is one which came after it had begun.
    """
    if key.name:
        return key.name == name
    detail = task.detail
    if detail.get("new_id"):
        return key.id == str(detail["new_id"])
    is_lost = task.again or (task.step == "discard" and detail.get("create_begun") != detail.get("nothing_made"))
    return is_lost and key.id not in detail.get("known", ()) and key.id != detail.get("old_id")


def _verify(task: Task, now_us: int) -> Outcome:
    """Whether the new secret works."""
    verdict = _try(task, task.fresh)
    if verdict == "works":
        return _DONE
    if verdict == "refused" and now_us - int(task.detail["since_us"]) >= SETTLES_S * US_PER_S:
        return Outcome("refused", "the provider refuses the new secret")
    said = "the provider does not know the new secret yet" if verdict == "refused" else "the provider gave no answer"
    return Outcome("later", said, _LATER_S)


def _try(task: Task, secret: str) -> str:
    if not task.driver:
        return trial.list_models(task.provider, task.base_url, Secret(secret), task.ca)
    return _driver(task).verify(task.provider, task.base_url, task.place, Secret(secret), task.ca)


def _watch(task: Task, now_us: int) -> Outcome:
    """Nobody but the gate may have used the old key, else deleting it breaks somebody."""
    old = next((key for key in _driver(task).list(_admin(task), task.place) if key.id == task.detail["old_id"]), None)
    switched_us = int(task.detail["switched_us"])
    until_us = switched_us + task.watch_s * US_PER_S
    if old is not None and old.last_used_us is not None:
        used_us = old.last_used_us
        if used_us > int(task.detail.get("drained_us") or switched_us) + _LAST_USED_IS_ROUGH_US:
            detail = {"used_elsewhere_us": used_us}
            if task.exclusive and now_us >= until_us:
                return Outcome("done", detail=detail)  # nobody else may: who does is no application
            return Outcome(
                "later", f"somebody else still uses the old key, last at {iso(used_us)}", _ELSEWHERE_S, detail
            )
    if now_us < until_us:
        return Outcome("later", "", max(_LATER_S, (until_us - now_us) // US_PER_S // 4))
    return _DONE


def _disable(task: Task, now_us: int) -> Outcome:  # noqa: ARG001 -- as above
    _driver(task).disable(_admin(task), task.place, _old_id(task))
    return _DONE


def _old_id(task: Task) -> str:
    """Raises UserError where nobody has said which key the old one is, or that it is the new one."""
    old_id = str(task.detail.get("old_id") or "")
    if old_id and old_id == task.detail.get("new_id"):
        raise UserError(f"{old_id} is both the old key and the new one", "")
    if not old_id:
        ids = ", ".join(task.detail.get("known") or ()) or "there is none"
        raise UserError(_UNKNOWN.format(ids=ids, credential=task.credential), "")
    return old_id


def _delete(task: Task, now_us: int) -> Outcome:  # noqa: ARG001 -- as above
    driver, admin, keep = _driver(task), _admin(task), str(task.detail.get("new_id") or "")
    driver.delete(admin, task.place, _old_id(task), keep=keep)
    if driver.kind == "overlap":
        # A worker that was killed while it made a key may have left it when another had looked already.
        for key in driver.list(admin, task.place):
            if key.name == created_name(task.uid) and key.id != keep:
                driver.delete(admin, task.place, key.id, keep=keep)
    return _DONE


def _refused(task: Task, now_us: int) -> Outcome:
    """Whether the old secret is dead. Providers take a moment; where a person ends it, that may be long."""
    verdict = _try(task, task.old)
    if verdict == "refused":
        return Outcome("done", detail={"refused_us": now_us})
    said = "the old key still works" if verdict == "works" else "the provider gave no answer about the old key"
    return Outcome("later", said, _LATER_S)


_STEPS: dict[str, Callable[[Task, int], Outcome]] = {
    "note": _note,
    "create": _create,
    "verify": _verify,
    "watch": _watch,
    "disable": _disable,
    "delete": _delete,
    "refused": _refused,
    "discard": _discard,
}
