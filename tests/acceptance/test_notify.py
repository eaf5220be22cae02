"""News leave the whole program, whoever of it is killed on the way."""

import json
import os
import signal

import pytest

from tests.acceptance.system import System, until
from tests.notify.pieces import WHSEC
from tests.notify.receivers import Answer, http_receiver

pytestmark = pytest.mark.slow


@pytest.fixture
def receiver():
    with http_receiver() as made:
        yield made


@pytest.fixture
def system(tmp_path, receiver):
    made = System(tmp_path).set_up()
    made.command("notify", "add", "hook", "--kind", "webhook", "--url", f"{receiver.url}/hook", stdin=WHSEC)
    path = f"path={tmp_path / 'findings'}"
    made.command("notify", "add", "siem", "--kind", "ocsf-file", "--option", path)
    ping = f"{receiver.url}/ping/s3cret"
    made.command("notify", "add", "dead-man", "--kind", "heartbeat", "--option", "every_s=10", stdin=ping)
    made.up()
    yield made
    made.close()


def test_every_message_arrives_whoever_is_killed_while_it_is_sent(system, receiver):
    assert "delivered" in system.command("notify", "test", "hook")
    assert "delivered" in system.command("notify", "test", "siem")
    finding = json.loads((system.folder / "findings").read_text())
    assert finding["class_uid"] == 2004

    for kind in ("worker", "control"):
        before = len(ids(receiver))
        doomed = system.children()[kind][0]

        def kill(got, doomed=doomed, before=before):
            if got.path == "/hook" and len(ids(receiver)) == before:
                os.kill(doomed, signal.SIGKILL)
            return Answer()

        receiver.answer = kill
        # The command itself may find control gone; the message is there all the same.
        run(system, "notify", "test", "hook")
        until(lambda: states(system) == {"sent"}, f"a message whose {kind} was killed")
        told = ids(receiver)[before:]
        assert len(set(told)) == 1

    until(lambda: any(got.path == "/ping/s3cret" for got in receiver.got), "a heartbeat")
    until(lambda: "the last one" in run(system, "doctor"), "a heartbeat on record")
    searched = [path for path in system.home.rglob("*") if path.is_file()]
    assert searched
    for path in searched:
        assert all(word not in path.read_bytes() for word in (b"s3cret", WHSEC.encode())), path


def run(system, *words):
    """A command that may fail, since somebody was just killed; what it printed."""
    return system.run(*words).stdout


def ids(receiver):
    return [got.headers["webhook-id"] for got in receiver.got if got.path == "/hook"]


def states(system):
    rows = json.loads(run(system, "notify", "outbox", "--json") or "[]")
    return {row["state"] for row in rows}
