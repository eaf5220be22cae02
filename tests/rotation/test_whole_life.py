"""Every driver's rotation and containment from begin to end, at the practice providers and moto; outcomes get lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from jackstop.providers import drivers
from jackstop.providers.drivers.driver import Administration
from jackstop.rotation.steps import created_name, perform
from jackstop.rotation.task import Task
from jackstop.secret import Secret
from jackstop.settings import Home, Settings
from jackstop.store import tables
from jackstop.store.engine import Store
from tests.control.rotation_bench import RotationDesk
from tests.sandbox.practice import Practice, running

MOST_ROUNDS = 200
AWS_POLICY = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'


class Life:
    """A credential kept by one driver, and the worker that works on it."""

    def __init__(self, desk: RotationDesk, practice: Practice, driver: str) -> None:
        self.desk, self.practice, self.name = desk, practice, driver
        self.driver: Any = drivers.driver(driver)
        self.calls: Counter[str] = Counter()
        self.options: dict[str, str] = {}
        self.base_url, self.admin_url, self.place, self.admin_secret = "", "", {}, f"{driver}-admin-0123456789"
        made = getattr(self, f"_{driver}")()
        self.id, self.secret = made["id"], made["secret"]
        provider = "anthropic" if driver == "anthropic" else "openai"
        desk.credential("main", provider=provider, base_url=self.base_url, secret=self.secret, provider_key_id=self.id)
        desk.run(
            "administration add",
            name="a",
            driver=driver,
            base_url=self.admin_url,
            options=self.options,
            secret=self.admin_secret,
        )
        desk.run("administration link", name="main", administration="a", place=self.place)

    @property
    def admin(self) -> Administration:
        return Administration(self.name, self.admin_url, self.options, Secret(self.admin_secret))

    # -- providers ----------------------------------------------------------------------------------------------

    def _openai(self) -> Any:
        url = self.practice.url
        self.base_url, self.admin_url, self.admin_secret = f"{url}/openai", f"{url}/openai/v1", "sk-admin-0123456789"
        self.place = {"project": "proj_1"}
        return self.practice.seed("openai", **self.place, service_account="sa_1")

    def _openrouter(self) -> Any:
        self.base_url, self.admin_url = (f"{self.practice.url}/openrouter/api{end}" for end in ("", "/v1"))
        self.admin_secret = "sk-or-v1-management-0123456789"
        return self.practice.seed("openrouter", workspace="default")

    def _xai(self) -> Any:
        self.base_url = self.admin_url = f"{self.practice.url}/xai"
        self.admin_secret = "xai-token-management-0123456789"
        self.place = {"team": "team_1"}
        return self.practice.seed("xai", team="team_1")

    def _mistral(self) -> Any:
        self.base_url, self.admin_url = f"{self.practice.url}/mistral", f"{self.practice.url}/mistral/api/admin"
        self.place = {"workspace": "default"}
        return self.practice.seed("mistral", **self.place)

    def _bedrock(self) -> Any:
        self.base_url, self.admin_url = f"{self.practice.url}/bedrock-mantle", f"{self.practice.url}/aws/iam"
        self.place, self.admin_secret = {"user": "gate"}, "AKIAPRACTICE00000000:practice-secret"
        return self.practice.seed("bedrock", user="gate")

    def _google(self) -> Any:
        url = self.practice.url
        self.base_url, self.admin_url = f"{url}/gemini/v1beta/openai", f"{url}/google"
        self.place = {"project": "sandbox"}
        self.admin_secret = self.practice.seed("google_sa", project="sandbox", service_account="j@sandbox")["secret"]
        self.practice.mode(operation_ms=0)
        return self.practice.seed("google", project="sandbox")

    def _azure(self) -> Any:
        url = self.practice.url
        self.base_url, self.admin_url = f"{url}/azure/acc/openai", f"{url}/arm"
        self.options = {"tenant": "t", "client_id": "c", "login_url": f"{url}/entra"}
        self.place = {"subscription": "s", "resource_group": "g", "account": "acc"}
        return self.practice.seed("azure", account="acc", slot="Key2")

    def _anthropic(self) -> Any:
        self.base_url = self.admin_url = f"{self.practice.url}/anthropic"
        self.place, self.admin_secret = {"workspace": "wrkspc_1"}, "sk-ant-admin01-practice-0123456789"
        return self.practice.seed("anthropic", workspace="wrkspc_1")

    def _aws(self) -> Any:
        import boto3

        session = boto3.session.Session("setup", "setup")
        iam = session.client("iam", endpoint_url=self.practice.url, region_name="us-east-1")
        for user in ("app", "jackstop"):
            iam.create_user(UserName=user)
        iam.put_user_policy(UserName="jackstop", PolicyName="all", PolicyDocument=AWS_POLICY)
        own, app = (iam.create_access_key(UserName=user)["AccessKey"] for user in ("jackstop", "app"))
        self.admin_url, self.place = self.practice.url, {"user": "app", "sts_url": self.practice.url}
        self.base_url = self.practice.url
        self.admin_secret = f"{own['AccessKeyId']}:{own['SecretAccessKey']}"
        return {"id": app["AccessKeyId"], "secret": f"{app['AccessKeyId']}:{app['SecretAccessKey']}"}

    # -- the worker ---------------------------------------------------------------------------------------------

    def begin(self, act: str) -> None:
        if self.name == "anthropic":
            made = self.practice.seed("anthropic", workspace="wrkspc_1")
            self.desk.run("administration standby", name="main", secret=made["secret"], provider_key_id=made["id"])
        self.desk.run(f"credential {act}", name="main")

    def work(self, *, lost: int = 0) -> Any:
        """Do it all. The first `lost` outcomes of each step die with the worker that had them."""
        for _ in range(MOST_ROUNDS):
            for each in self.desk.take():
                outcome = perform(msgspec.convert(each, Task), self.desk.clock.now_us())
                self.calls[each["step"]] += outcome.ending == "done"
                if outcome.ending == "done" and self.calls[each["step"]] <= lost:
                    self.desk.worker += "'"
                    self.desk.run("rotation start")
                else:
                    self.desk.run(
                        "rotation record",
                        id=each["id"],
                        step=each["step"],
                        number=each["number"],
                        outcome=msgspec.to_builtins(outcome),
                    )
            if self.desk.latest()["state"] != "running":
                return self.desk.latest()
            self.desk.clock.advance(1)
            self.practice.clock.advance(1)
        raise AssertionError(self.desk.latest())

    # -- looking ------------------------------------------------------------------------------------------------

    def active(self) -> list[str]:
        return [key.id for key in self.driver.list(self.admin, self.place) if key.state == "active"]

    def verdict(self, secret: str) -> str:
        found: str = self.driver.verify("openai", self.base_url, self.place, Secret(secret))
        if self.name == "anthropic":
            found = self.driver.verify("anthropic", self.base_url, self.place, Secret(secret))
        return found

    def check(self) -> None:
        """The gates have the one key that works, and the provider no other."""
        new = self.desk.fed()
        assert new.state == "active"
        assert self.verdict(new.secret.decode()) == "works"
        assert self.verdict(self.secret) == "refused"
        if self.name == "azure":
            assert (self.id, new.provider_key_id) == ("Key2", "Key1")
        else:
            assert self.active() == [new.provider_key_id]


@pytest.fixture(scope="module")
def served() -> Iterator[Practice]:
    with running() as made:
        yield made


@pytest.fixture
def store_url() -> str:
    """What the tables do is tested elsewhere, on both databases."""
    return ""


@pytest.fixture
def desk(store: Store, home: Home) -> RotationDesk:
    made = RotationDesk(store, home, Settings(mode="enforce"))
    made.rules(watch_s=0, wait_s=0)
    return made


@pytest.fixture
def live(desk: RotationDesk, served: Practice) -> Any:
    """A function that makes the life of a credential with a driver of the practice providers."""
    served.begin()
    return lambda driver: Life(desk, served, driver)


PRACTISED = ("openai", "openrouter", "xai", "bedrock", "google", "azure", "anthropic")


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 2])
@pytest.mark.parametrize("act", ["rotate", "contain"])
@pytest.mark.parametrize("driver", PRACTISED)
def test_a_key_gives_way_to_another_however_often_a_worker_dies(live: Any, driver: str, act: str, lost: int) -> None:
    life = live(driver)
    life.begin(act)
    assert life.work(lost=lost)["state"] == "done"
    life.check()
    assert life.desk.detections() == []


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 2])
def test_aws_access_keys_in_moto(desk: RotationDesk, served: Practice, moto: str, lost: int) -> None:
    life = Life(desk, SimpleNamespace(url=moto, clock=served.clock), "aws")  # type: ignore[arg-type]  # moto is no Practice
    life.begin("rotate")
    # Moto's STS knows a deleted key no more than a live one: its signatures are not looked at. IAM's list is.
    life.driver = SimpleNamespace(list=life.driver.list)
    row = _until_refused(life, lost)
    assert life.active() == [row["new_id"]]
    assert row["new_id"] != life.id


def _until_refused(life: Life, lost: int) -> Any:
    try:
        life.work(lost=lost)
    except AssertionError:
        assert life.desk.latest()["step"] == "refused"
    return life.desk.latest()


@pytest.mark.slow
def test_where_no_api_ends_a_key_people_are_told_and_what_is_left_over_is_named(live: Any) -> None:
    life = live("mistral")
    life.begin("rotate")
    orphans = len(life.active()) + 2
    for _ in range(30):
        for each in life.desk.take():
            outcome = perform(msgspec.convert(each, Task), life.desk.clock.now_us())
            life.calls[each["step"]] += 1
            if (each["step"], life.calls[each["step"]]) == ("create", 1):
                life.desk.run("rotation start")
            else:
                life.desk.record(
                    each, outcome.ending, **{n: getattr(outcome, n) for n in ("problem", "detail", "fresh")}
                )
        life.desk.clock.advance(1)
        life.practice.clock.advance(1)
    assert life.desk.detections() == ["old_key_works"]
    assert len(life.desk.latest()["left_over"]) == 1
    assert len(life.active()) == orphans


def test_a_slot_is_found_by_its_secret_whatever_somebody_said(live: Any) -> None:
    """Making the wrong one of two slots anew would be an outage."""
    life = live("azure")
    life.desk.run("administration link", name="main", provider_key_id="Key1")
    life.begin("rotate")
    life.work()
    life.check()


def test_a_wrong_id_stops_a_rotation_before_anything_is_made(live: Any) -> None:
    life = live("openai")
    life.desk.run("administration link", name="main", provider_key_id="key_of_another")
    life.begin("rotate")
    (task,) = life.desk.take()
    outcome = perform(msgspec.convert(task, Task), life.desk.clock.now_us())
    assert outcome.ending == "failed"
    assert "jackstop credential link main --provider-key-id ID" in outcome.problem
    assert life.id in outcome.problem
    life.desk.record(task, "failed", problem=outcome.problem)
    life.desk.run("administration link", name="main", provider_key_id=life.id)
    life.desk.run("rotation cancel", name="main")
    life.desk.run("credential rotate", name="main")
    assert life.work()["state"] == "done"


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_colleague_s_key_is_left_alone(live: Any, *, cancelled: bool) -> None:
    """Bedrock's keys have no names, and two are all there may be: what a refused try left is nobody's but theirs."""
    life = live("bedrock")
    life.begin("rotate")
    (note,) = life.desk.take()
    life.desk.record(note, detail=perform(msgspec.convert(note, Task), life.desk.clock.now_us()).detail)
    theirs = life.driver.create(life.admin, life.place, "", beside="", expires_s=None)
    if cancelled:
        _try_once(life)
        life.desk.run("rotation cancel", name="main")
        assert life.work()["state"] == "cancelled"
        assert sorted(life.active()) == sorted([life.id, theirs.id])
        return
    for _ in range(3):
        _try_once(life)
        assert sorted(life.active()) == sorted([life.id, theirs.id])
    life.driver.delete(life.admin, life.place, theirs.id, keep=life.id)
    assert life.work(lost=1)["state"] == "done"
    life.check()


def _try_once(life: Life) -> None:
    (task,) = life.desk.take()
    outcome = perform(msgspec.convert(task, Task), life.desk.clock.now_us())
    assert (task["step"], outcome.ending) == ("create", "failed")
    life.desk.record(task, outcome.ending, problem=outcome.problem, detail=outcome.detail)
    life.desk.clock.advance(60)


def test_a_key_that_somebody_ended_already_is_rotated_all_the_same(live: Any) -> None:
    life = live("openai")
    life.driver.delete(life.admin, {"project": "proj_1"}, life.id, keep="")
    life.desk.run("administration link", name="main", place={"project": "proj_1", "service_account": "sa_1"})
    life.desk.clock.advance(5)
    life.practice.clock.advance(5)
    life.begin("contain")
    assert life.work()["state"] == "done"
    life.check()


def test_the_same_key_is_given_another_name_by_every_intent(live: Any) -> None:
    life = live("openai")
    names = set()
    for _ in range(2):
        life.begin("rotate")
        life.work()
        (row,) = life.desk.rows(tables.rotations)[-1:]
        names.add(created_name(row["uid"]))
    listed = {key.name for key in life.driver.list(life.admin, life.place)}
    assert len(names) == 2
    assert listed <= names
