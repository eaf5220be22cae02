from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.providers import drivers
from jackstop.providers.drivers.driver import Driver
from jackstop.rotation.plan import WORDS, Act, Plan, by_hand, plan, words

ACTS: tuple[Act, ...] = ("rotate", "contain")
ENDS = ("disable", "delete")


class Shaped:
    """What a plan looks at of a driver."""

    name = "shaped"
    kind = "overlap"

    def __init__(self, verbs: frozenset[str], *, last_used: bool) -> None:
        self.verbs = verbs
        self.last_used = last_used


@st.composite
def shaped(draw: st.DrawFn) -> Any:
    if draw(st.booleans()):
        return None
    verbs = draw(st.frozensets(st.sampled_from(["list", "create", "disable", "enable", "delete"])))
    return Shaped(verbs, last_used=draw(st.booleans()))


def made(act: Act, driver: Any, **more: bool) -> Plan:
    return plan(act, driver, **more)


cases = given(act=st.sampled_from(ACTS), driver=shaped(), standby=st.booleans(), brought=st.booleans())


@cases
def test_a_plan_makes_tests_and_switches_in_that_order_and_sees_the_old_key_refused(
    act: Act, driver: Any, standby: bool, brought: bool
) -> None:
    steps = made(act, driver, standby=standby, brought=brought).steps
    assert len(steps) == len(set(steps))
    assert "refused" in steps
    assert steps.index("verify") + 1 == steps.index("switch")
    for source in {"create", "standby", "ask"} & set(steps):
        assert steps.index(source) < steps.index("verify")
    assert len({"create", "standby", "ask"} & set(steps)) == (0 if brought else 1)
    for end in {"disable", "delete"} & set(steps):
        assert steps.index(end) < steps.index("refused")
    if "note" in steps:
        # Nothing stands before it but what must not wait for any provider.
        assert set(steps[: steps.index("note")]) <= {"stop"}
    if "stop" in steps:
        assert steps[0] == "stop"


@cases
def test_with_a_replacement_nothing_is_ended_before_the_gates_have_it(
    act: Act, driver: Any, standby: bool, brought: bool
) -> None:
    found = made(act, driver, standby=standby, brought=brought)
    if found.outage:
        return
    steps = found.steps
    assert "stop" not in steps
    assert steps.index("switch") < steps.index("drain")
    for end in {*ENDS, "refused", "watch"} & set(steps):
        assert steps.index("drain") < steps.index(end)


@cases
def test_a_containment_without_a_second_key_is_an_outage_and_says_so(
    act: Act, driver: Any, standby: bool, brought: bool
) -> None:
    found = made(act, driver, standby=standby, brought=brought)
    creates = driver is not None and "create" in driver.verbs
    assert found.outage == (act == "contain" and not (creates or standby or brought))
    assert ("stop" in found.steps) == found.outage
    text = " ".join(words(found, driver))
    assert ("outage" in text) == found.outage
    if found.outage:
        # Using it stops, and it is made useless, before anybody is waited for.
        assert found.steps.index("stop") < found.steps.index("ask")
        for end in {*ENDS} & set(found.steps):
            assert found.steps.index("stop") < found.steps.index(end) < found.steps.index("ask")


@cases
def test_only_what_the_provider_has_is_planned(act: Act, driver: Any, standby: bool, brought: bool) -> None:
    found = made(act, driver, standby=standby, brought=brought)
    verbs = driver.verbs if driver is not None else frozenset()
    assert {"create", *ENDS} & set(found.steps) <= verbs
    assert ("note" in found.steps) == ("list" in verbs)
    assert found.by_person == (not {*ENDS} & set(verbs))
    assert ("a person has to end the old one" in " ".join(words(found, driver))) == found.by_person


@cases
def test_a_stolen_key_is_not_spared(act: Act, driver: Any, standby: bool, brought: bool) -> None:
    steps = made(act, driver, standby=standby, brought=brought).steps
    if act == "contain":
        assert not {"watch", "wait"} & set(steps)
    elif "disable" in steps and "delete" in steps:
        assert steps.index("disable") < steps.index("wait") < steps.index("delete")


@pytest.mark.parametrize("name", drivers.names())
@pytest.mark.parametrize("act", ACTS)
def test_every_driver_has_a_plan_that_is_said_in_words(name: str, act: Act) -> None:
    driver: Driver = drivers.driver(name)
    found = plan(act, driver)
    assert found.outage == (act == "contain" and driver.kind == "assisted")
    assert len(words(found, driver)) >= len(found.steps)
    assert all(WORDS[step] in line for step, line in zip(found.steps, words(found, driver), strict=False))


@pytest.mark.parametrize(
    ("name", "act", "steps"),
    [
        ("openai", "rotate", "note create verify switch drain watch delete refused"),
        ("openai", "contain", "note create verify switch drain delete refused"),
        ("openrouter", "rotate", "note create verify switch drain watch disable wait delete refused"),
        ("azure", "rotate", "note create verify switch drain delete refused"),
        ("anthropic", "rotate", "note ask verify switch drain disable wait delete refused"),
        ("anthropic", "contain", "stop note disable delete refused ask verify switch"),
        ("deepseek", "rotate", "ask verify switch drain refused"),
        ("deepseek", "contain", "stop ask verify switch refused"),
    ],
)
def test_plans_of_known_providers(name: str, act: Act, steps: str) -> None:
    assert " ".join(plan(act, drivers.driver(name)).steps) == steps


@pytest.mark.parametrize("act", ACTS)
def test_a_plan_for_two_slots_says_what_becomes_of_the_other_one(act: Act) -> None:
    azure = drivers.driver("azure")
    assert "takes the other slot" in words(plan(act, azure), azure)[-1]
    assert "takes the other slot" not in " ".join(words(plan(act, azure, brought=True), azure))


@pytest.mark.parametrize("act", ACTS)
def test_by_hand_a_secret_is_replaced_or_stopped_here_alone(act: Act) -> None:
    found = by_hand(act)
    assert found.steps == (("stop",) if act == "contain" else ("switch",))
    assert found.outage == (act == "contain")
    assert found.by_person


@cases
def test_what_has_to_stop_now_stops_whatever_else_there_is(act: Act, driver: Any, standby: bool, brought: bool) -> None:
    found = plan("contain", driver, standby=standby, brought=brought, stop=True)
    assert found.outage
    assert found.steps[0] == "stop"
    assert found.steps.index("stop") < found.steps.index("ask") < found.steps.index("switch")
