"""A credential at the practice mantle, with the trail about it in moto's S3, and a worker that reads it."""

from __future__ import annotations

import threading
from typing import Any

import boto3
import pytest
from sqlalchemy import select, update

from jackstop.reconcile.poll import Poller
from jackstop.store.tables import credentials
from tests.control.command_bench import Bench
from tests.reconcile import trail
from tests.reconcile.world import Call, write

HOUR_US = 3_600_000_000


class Cloud:
    """A credential at the practice mantle, the trail about it, and a worker that reads it."""

    def __init__(self, bench: Bench, practice: Any, moto: str, *, exclusive: bool) -> None:
        self.bench, self.practice = bench, practice
        self._one_at_a_time = threading.Lock()
        self.s3 = boto3.session.Session("setup", "setup").client("s3", endpoint_url=moto, region_name=trail.REGION)
        self.s3.create_bucket(Bucket=trail.BUCKET)
        self.key = practice.seed("bedrock", user="gate")
        self.bench.clock.jump((practice.clock.now_us() - self.bench.clock.now_us()) / 1_000_000)
        base_url = f"{practice.url}/bedrock-mantle"
        bench.credential(
            "main", base_url=base_url, secret=self.key["secret"], provider_key_id=self.key["id"], exclusive=exclusive
        )
        bench.run(
            "administration add",
            name="aws",
            driver="bedrock",
            base_url=f"{practice.url}/aws/iam",
            secret="AKIAPRACTICE00000000:practice-secret",
            options={"s3_url": moto},
        )
        place = {"user": "gate", "trail": f"s3://{trail.BUCKET}/{trail.PREFIX}"}
        bench.run("administration link", name="main", administration="aws", place=place)
        with bench.store.begin() as conn:
            conn.execute(update(credentials).values(created_us=bench.clock.now_us() - HOUR_US))
        self.poller = self.worker()
        self.written = 0

    def worker(self) -> Poller:
        return Poller(self.ask, self.bench.home.lake, self.bench.clock)

    def ask(self, name: str, args: dict[str, Any]) -> Any:
        with self._one_at_a_time:
            return self.bench.run(name, **args)

    def pass_time(self, seconds: float) -> None:
        self.practice.clock.advance(seconds)
        self.bench.clock.advance(seconds)

    def call(self, *, through_gate: bool, named: bool = True) -> dict[str, Any]:
        """One call; what the provider has of it. `named` says whether the gate got its id."""
        client = self.practice.openai("bedrock-mantle/v1", key=self.key["secret"])
        messages = [{"role": "user", "content": "hello"}]
        answer = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=messages, max_tokens=20)
        found = answer.headers["x-amzn-requestid"]
        row: dict[str, Any] = self.practice.row(lambda row: row["id"] == found)
        if through_gate:
            self.written += 1
            request_id = found if named else ""
            made = Call(row["ts"], 0, key=self.key["id"], credential="main", request_id=request_id)
            write(self.bench.home.lake, [made], f"gate-1-{self.written}")
        return row

    def log(self, *rows: dict[str, Any], user: str = "gate", **fields: Any) -> None:
        trail.put(self.s3, [trail.inference(row, user, **fields) for row in rows], self.bench.clock.now_us())

    def poll(self) -> None:
        self.poller.step()
        self.poller.wait()

    def rows(self, table: Any) -> list[Any]:
        with self.bench.store.begin() as conn:
            return list(conn.execute(select(table)).mappings())

    def state(self) -> dict[str, Any]:
        (row,) = self.bench.run("reconcile list")["rows"]
        found: dict[str, Any] = row["log"]
        return found

    def sums(self) -> tuple[int, int]:
        hours = self.state()["hours"]
        return sum(hour["through"] for hour in hours), sum(hour["outside"] for hour in hours)


@pytest.fixture
def cloud(bench: Bench, practice: Any, moto: str) -> Cloud:
    return Cloud(bench, practice, moto, exclusive=True)


@pytest.fixture
def shared_cloud(bench: Bench, practice: Any, moto: str) -> Cloud:
    return Cloud(bench, practice, moto, exclusive=False)
