from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from jackstop.control import client
from jackstop.control.protocol import Command, Frames, Reply, frame
from jackstop.errors import UserError
from jackstop.settings import Home, Settings


@contextmanager
def control(home: Home, reply: Reply | None) -> Iterator[list[Command]]:
    """Something that answers every command alike; None: it hangs up."""
    asked: list[Command] = []
    listener = socket.socket(socket.AF_UNIX)
    with client.socket_path(home) as path:
        listener.bind(path)
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                asked.extend(
                    message for message in Frames().feed(connection.recv(65_536)) if isinstance(message, Command)
                )
                if reply is not None:
                    data = frame(reply)
                    connection.sendall(data[:3])
                    connection.sendall(data[3:])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield asked
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        home.control_socket.unlink()


def call(home: Home, name: str = "key list", **args: Any) -> Any:
    return client.call(home, Settings(), name, args)


def test_a_running_control_is_asked(home: Home) -> None:
    with control(home, Reply(result={"rows": [1]})) as asked:
        assert call(home, after=None) == {"rows": [1]}
    assert asked == [Command("key list", {"after": None})]


def test_what_control_refuses_is_raised_as_it_stands(home: Home) -> None:
    with control(home, Reply(problem="no such key", remedy="look", status=2)), pytest.raises(UserError) as caught:
        call(home)
    assert (caught.value.problem, caught.value.remedy, caught.value.status) == ("no such key", "look", 2)


def test_a_control_that_dies_in_between_may_have_acted(home: Home) -> None:
    with control(home, None), pytest.raises(UserError, match="before it answered") as caught:
        call(home)
    assert "look before trying again" in caught.value.remedy


def test_without_control_the_command_runs_here(home: Home) -> None:
    client.initialise(home, Settings(), {"admin": None})
    assert call(home)["rows"] == []


def test_a_socket_that_a_killed_control_left_is_passed_by(home: Home) -> None:
    client.initialise(home, Settings(), {"admin": None})
    listener = socket.socket(socket.AF_UNIX)
    with client.socket_path(home) as path:
        listener.bind(path)
    listener.close()
    assert call(home)["rows"] == []


def test_a_lock_without_a_socket_is_waited_for_and_then_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    client.initialise(home, Settings(), {"admin": None})
    monkeypatch.setattr(client, "WAIT_S", 0.0)
    with client.lock(home), pytest.raises(UserError, match="does not answer"):
        call(home)
    assert call(home)["rows"] == []


def test_two_do_not_hold_the_lock(home: Home) -> None:
    with client.lock(home) as first, client.lock(home) as second:
        assert first
        assert not second


def test_init_leaves_a_running_home_alone(home: Home) -> None:
    with client.lock(home), pytest.raises(UserError, match="is running"):
        client.initialise(home, Settings(), {"admin": None})


def test_asking_control_alone_says_when_it_is_away(home: Home) -> None:
    with pytest.raises(UserError, match="away"):
        client.ask(home, "lake positions", {})


def test_a_pid_counts_while_its_owner_holds_the_file(home: Home) -> None:
    import fcntl

    assert client.parent_pid(home) is None
    home.parent_pid.write_text(f"{os.getpid()}\n")
    assert client.parent_pid(home) is None
    with home.parent_pid.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert client.parent_pid(home) == os.getpid()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every socket")
def test_a_socket_of_another_user_is_named(home: Home) -> None:
    with control(home, Reply()):
        home.control_socket.chmod(0)
        with pytest.raises(UserError, match="another user"):
            call(home)
