"""The demo's mail server, as Python's own client sees it."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage

import pytest

from jackstop.errors import UserError
from jackstop.sandbox.mail import Mailbox
from tests.waiting import PATIENCE_S


def mail(subject: str, text: str) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "jackstop@example.com", "ann@example.com", subject
    made.set_content(text)
    return made


def test_mail_is_kept_as_it_was_sent() -> None:
    mailbox = Mailbox()
    with smtplib.SMTP("127.0.0.1", mailbox.port, timeout=PATIENCE_S) as client:
        client.send_message(mail("news", "another one"))
        client.send_message(mail("a question", ".a line with a dot\n..two of them\n"))
    got = mailbox.wait_for("question", PATIENCE_S)
    assert got.content["To"] == "ann@example.com"
    assert got.content.get_content().splitlines() == [".a line with a dot", "..two of them"]
    assert got.came_us > 0
    with pytest.raises(UserError, match="no mail about 'news'"):
        mailbox.wait_for("news", 0)
    mailbox.close()
    with pytest.raises(OSError):
        smtplib.SMTP("127.0.0.1", mailbox.port, timeout=PATIENCE_S)
