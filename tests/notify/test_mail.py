"""The e-mail channel against a mail server that nobody here wrote, or one that misbehaves."""

from __future__ import annotations

import email
import email.policy
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from jackstop.notify import deadline
from jackstop.notify import http as notify_http
from jackstop.notify.channel import Undelivered
from jackstop.notify.channels import email as email_channel
from jackstop.notify.message import Message
from tests.notify.pieces import message, news
from tests.notify.receivers import mail_receiver
from tests.notify.sending import MESSAGES, send


def mail(port: int, **options: str) -> dict[str, str]:
    return {"host": "127.0.0.1", "port": str(port), "from": "jackstop@example.com", "to": "a@example.com", **options}


@pytest.mark.parametrize("sent", MESSAGES)
def test_a_mail_server_takes_the_mail(sent: Message) -> None:
    with mail_receiver() as (receiver, port):
        send("email", sent, **mail(port, tls="none"))
        send("email", sent, **mail(port, tls="none"))
    first, second = receiver.got
    assert first.rcpt_tos == ["a@example.com"]
    assert isinstance(first.content, bytes)
    assert isinstance(second.content, bytes)
    read = email.message_from_bytes(first.content, policy=email.policy.default)
    assert read["Message-ID"] == f"<{sent.uid}@example.com>"
    assert read["Message-ID"] == email.message_from_bytes(second.content, policy=email.policy.default)["Message-ID"]
    assert (read["Auto-Submitted"], read["List-Post"]) == ("auto-generated", "NO")
    assert read["List-Id"]
    assert read["Subject"].startswith("[Jackstop ")
    plain, html = read.get_body(("plain",)), read.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert sent.newest.text.split("\n")[0] in plain.get_content().replace("\r\n", "\n") or not sent.newest.text
    assert "<b>" not in html.get_content()


def test_news_of_a_case_form_a_thread_and_a_question_goes_to_its_owner() -> None:
    with mail_receiver() as (receiver, port):
        send("email", message(news(1)), **mail(port, tls="none"))
        send("email", message(news(2, kind="question", to="owner@example.com")), **mail(port, tls="none"))
    told, asked = receiver.got
    assert (told.rcpt_tos, asked.rcpt_tos) == (["a@example.com"], ["owner@example.com"])
    assert isinstance(told.content, bytes)
    assert isinstance(asked.content, bytes)
    assert b"References: <jackstop-0a1b2c3d-case-12@example.com>" in told.content
    assert b"References:" not in asked.content


@pytest.mark.parametrize("implicit", [False, True])
def test_mail_goes_over_tls_with_a_password(implicit: bool, authority: Any, certificate: Any) -> None:
    login = ("jackstop", "a-password")
    options = {"tls": "implicit" if implicit else "starttls", "user": login[0]}
    with mail_receiver(certificate, implicit=implicit, login=None if implicit else login) as (receiver, port):
        if implicit:
            send("email", message(), **mail(port, tls="implicit", ca=str(authority.ca)))
            with pytest.raises(Undelivered, match="cannot be used"):
                send("email", message(), **mail(port, tls="implicit"))
        else:
            send("email", message(), login[1], **mail(port, **options, ca=str(authority.ca)))
            with pytest.raises(Undelivered, match="answers 535"):
                send("email", message(), "wrong", **mail(port, **options, ca=str(authority.ca)))
            with pytest.raises(Undelivered, match="cannot be used"):
                send("email", message(), login[1], **mail(port, **options))
    assert len(receiver.got) == 1
    # aiosmtpd notes a connection as secure after STARTTLS alone; its other port takes nothing but TLS.
    assert receiver.secure == [not implicit]


def test_a_mail_server_that_never_ends_is_cut_off_behind_starttls_too(
    monkeypatch: pytest.MonkeyPatch, authority: Any, certificate: tuple[Path, Path]
) -> None:
    monkeypatch.setattr(email_channel, "DELIVER_S", 0.5)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = threading.Event()

        def drip() -> None:
            plain, _ = server.accept()
            plain.sendall(b"220 here\r\n")
            plain.recv(1_000)
            plain.sendall(b"250-here\r\n250 STARTTLS\r\n")
            plain.recv(1_000)
            plain.sendall(b"220 go on\r\n")
            with suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
                while not stop.wait(0.02):
                    connection.sendall(b"250-and\r\n")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        with pytest.raises(Undelivered):
            send("email", message(), **mail(server.getsockname()[1], tls="starttls", ca=str(authority.ca)))
        stop.set()
        thread.join()


def test_a_connection_that_is_cut_off_is_never_in_clear(authority: Any, certificate: tuple[Path, Path]) -> None:
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(*certificate)
    here, there = socket.socketpair()
    served: list[ssl.SSLSocket] = []
    serving = threading.Thread(target=lambda: served.append(theirs.wrap_socket(there, server_side=True)))
    serving.start()
    with notify_http.tls_context(str(authority.ca)).wrap_socket(here, server_hostname="localhost") as mine:
        serving.join()
        mine.settimeout(10)
        with deadline.cut_off(mine, 0.0):
            assert mine.recv(1) == b""
        assert mine.cipher() is not None
    served[0].close()


def test_mail_without_tls_goes_to_no_other_machine_whatever_the_name_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify_http, "is_loopback", lambda _host: False)
    with mail_receiver() as (receiver, port), pytest.raises(Undelivered, match="not on this machine"):
        send("email", message(), **mail(port, tls="none"))
    assert receiver.got == []


def test_how_a_mail_server_says_goodbye_changes_nothing() -> None:
    with mail_receiver() as (receiver, port):
        receiver.goodbye = "451 stay a little"
        send("email", message(), **mail(port, tls="none"))
    assert len(receiver.got) == 1


def test_a_mail_server_s_refusal_is_told() -> None:
    with mail_receiver() as (receiver, port):
        receiver.refuse = "554 no thanks: a-password"
        with pytest.raises(Undelivered) as caught:
            send("email", message(), **mail(port, tls="none"))
    assert (caught.value.problem, caught.value.rejected) == ("the mail server answers 554", True)


def test_a_title_cannot_add_headers() -> None:
    with mail_receiver() as (receiver, port):
        send("email", message(news(title="x\r\nBcc: thief@example.com")), **mail(port, tls="none"))
    (got,) = receiver.got
    assert got.rcpt_tos == ["a@example.com"]
    assert isinstance(got.content, bytes)
    assert email.message_from_bytes(got.content)["Bcc"] is None
