"""Next steps per kind of finding, and the blast radius."""

from __future__ import annotations

from jackstop.cases.steps import UNLAWFUL, about, in_one, next_steps
from jackstop.detections.catalogue import shipped
from tests.cases.desk import DAY_US, HOUR_US, Desk


def steps(*detections: str, entity: str = "key:k", unlawful: bool = False) -> str:
    return "\n".join(next_steps(7, entity, detections, unlawful=unlawful))


def test_a_stolen_key_is_rotated_and_what_lay_beside_it() -> None:
    found = steps("spend_and_novelty")
    assert "jackstop cases respond 7 rotate" in found
    assert "Whatever lay beside it" in found
    assert "cases export 7" in found


def test_a_reseller_is_not_warned_and_an_application_is_mended() -> None:
    assert "do not warn them" in steps("resale_shape")
    assert "Rotating it does not help" in steps("end_user_fanout")
    assert "Rotating it does not help" not in steps("resale_shape")


def test_a_credential_has_steps_of_its_own() -> None:
    found = steps("model_spray", entity="credential:main")
    assert "credential rotate NAME" in found
    assert "Find where the key leaked" not in found


def test_unlawful_content_comes_first() -> None:
    assert next_steps(7, "key:k", ["resale_shape"], unlawful=True)[: len(UNLAWFUL)] == list(UNLAWFUL)


def test_steps_of_several_lists_keep_their_order_and_the_last_stays_last() -> None:
    assert in_one([["ask", "stop", "tell"], ["ask", "look", "tell"], ["renew", "look"]]) == [
        *("ask", "stop", "renew", "look", "tell")
    ]
    assert in_one([["a", "b"], ["b", "a", "c"]]) == ["a", "b", "c"]
    assert in_one([[], ["a", "a"]]) == ["a"]


def test_a_case_with_the_cloud_is_opened_after_everything_else() -> None:
    names = ("aws_logging_tampering", "aws_made_by_suspect", "aws_data_reached", "aws_committed_spend")
    found = next_steps(7, "principal:p", names, unlawful=False)
    assert found[0].startswith("Ask whoever")
    assert found[-2].startswith("Open a case with AWS")
    assert len(found) == len(set(found))


def test_every_detection_is_told_by_its_title_and_its_own_steps() -> None:
    for name, detection in shipped().items():
        assert about(name).title == detection.about.title
        assert about(name).what_to_do == detection.about.what_to_do
        assert set(detection.about.what_to_do) <= set(next_steps(1, "key:k", [name], unlawful=False))
    for name in ("overrun", "clock_jump"):
        assert about(name).what_to_do
    assert about("never_heard_of").title == "Never heard of"


def test_the_blast_radius_is_what_the_owner_made_within_a_day(desk: Desk) -> None:
    desk.credential("main")
    desk.credential("other", provider="anthropic")
    old = desk.key(name="old", team="red")
    desk.pass_time(3 * DAY_US)
    hit = desk.key(name="hit", team="red", provider=["openai"])
    near = desk.key(name="near", team="blue")
    stranger = desk.key(owner="b@example.com")
    desk.run("key rotate", id=old)
    case = desk.find(f"key:{hit}", "medium")
    desk.pass_time(HOUR_US)
    desk.key(name="later", team="red")
    blast = desk.case(case)["blast"]
    others = {row["name"]: (row["made_within_a_day"], row["same_place"]) for row in blast["other_keys"]}
    assert others == {"old": (False, True), "near": (True, False), "later": (True, True)}
    assert [row["name"] for row in blast["credentials"]] == ["main"]
    subjects = [(row["tag"], row["subject"]) for row in blast["acts"]]
    assert ("admin:key:rotate", f"key:{old}") in subjects
    assert ("admin:key:issue", f"key:{near}") in subjects
    assert ("admin:key:issue", f"key:{old}") not in subjects
    assert all(stranger not in subject for _, subject in subjects)
