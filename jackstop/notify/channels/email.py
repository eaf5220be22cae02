"""E-mail over SMTP: plain text and a little HTML, threads by case, TLS."""

from __future__ import annotations

import smtplib
from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from html import escape

from jackstop.clock import to_datetime
from jackstop.errors import UserError
from jackstop.gate.listening import is_loopback
from jackstop.notify.channel import Channel, Undelivered
from jackstop.notify.channels import require
from jackstop.notify.deadline import DELIVER_S, cut_off
from jackstop.notify.http import require_loopback, tls_context
from jackstop.notify.message import Message, is_link, one_line, shown_facts

OPTIONS = frozenset({"host", "port", "tls", "user", "from", "to", "questions", "ca"})
ASKS_FOR = "the password of the mail server's user, empty for none"
MIN_SEVERITY = "medium"

_GREETING_S = 10.0
"""Mail servers let strangers wait for their greeting."""
_PORTS = {"starttls": 587, "implicit": 465, "none": 25}


def check(options: dict[str, str], secret: str) -> dict[str, str]:
    """`tls` is starttls, implicit, or, on this machine, none. `questions=no`: owners are not asked through this one."""
    host = require(options, "host", "say which mail server: --option host=smtp.example.com")
    for name in ("from", "to"):
        _address(require(options, name, f"add it: {'--to' if name == 'to' else '--option from='}name@example.com"))
    if options.setdefault("tls", "starttls") not in _PORTS:
        raise UserError(f"tls is {options['tls']!r}", "use starttls, implicit, or none for a server on this machine", 2)
    if options["tls"] == "none" and not is_loopback(host):
        raise UserError("without TLS, mail goes to this machine only", "use tls=starttls or tls=implicit", 2)
    port = options.setdefault("port", str(_PORTS[options["tls"]]))
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise UserError(f"port is {port!r}", "use a number such as 587", 2)
    if bool(secret) != bool(options.get("user")):
        raise UserError("a user and its password go together", "give --option user=… and the password, or neither", 2)
    if options.get("questions", "yes") not in {"yes", "no"}:
        raise UserError(f"questions is {options['questions']!r}", "use yes or no", 2)
    return options


def _address(text: str) -> str:
    name, _, domain = text.rpartition("@")
    if not name or not domain or any(char.isspace() or char in "<>,;:\"'()" or ord(char) < 33 for char in text):
        raise UserError(f"{text!r} is not an e-mail address", "write it as name@example.com, one for a channel", 2)
    return text


def send(channel: Channel, message: Message, now_us: int) -> None:
    """Hand one mail to the server. Raises Undelivered."""
    options = channel.options
    # A question is for the owner; everything else goes where the channel leads.
    receiver = message.newest.to if message.newest.kind == "question" else options["to"]
    mail = content(message, options["from"], receiver, now_us)
    try:
        _hand_over(channel, mail, receiver)
    except smtplib.SMTPResponseException as error:
        raise Undelivered(f"the mail server answers {error.smtp_code}", rejected=_rejected(error)) from None
    except smtplib.SMTPRecipientsRefused as error:
        code = max((code for code, _ in error.recipients.values()), default=0)
        raise Undelivered(f"the mail server refuses the receiver with {code}", rejected=code >= 500) from None
    except (OSError, ValueError) as error:
        raise Undelivered(f"the mail server cannot be used: {_why(error)}") from None


def _hand_over(channel: Channel, mail: EmailMessage, receiver: str) -> None:
    options = channel.options
    host, port = options["host"], int(options["port"])
    context = tls_context(options.get("ca", ""))
    server: smtplib.SMTP
    if options["tls"] == "implicit":
        server = smtplib.SMTP_SSL(host, port, timeout=_GREETING_S, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=_GREETING_S)
    try:
        if options["tls"] == "none":
            assert server.sock is not None
            require_loopback(server.sock, "mail without TLS")
        if options["tls"] == "starttls":
            with cut_off(server.sock, DELIVER_S):
                server.starttls(context=context)
        # STARTTLS has put another socket in the place of the first.
        with cut_off(server.sock, DELIVER_S):
            if options.get("user"):
                server.login(options["user"], channel.secret.reveal().decode())
            server.send_message(mail, from_addr=options["from"], to_addrs=[receiver])
            with suppress(smtplib.SMTPException):
                # The server has the mail, whatever it says to this.
                server.quit()
    finally:
        server.close()


def _rejected(error: smtplib.SMTPResponseException) -> bool:
    return isinstance(error, smtplib.SMTPDataError | smtplib.SMTPSenderRefused) and error.smtp_code >= 500


def _why(error: Exception) -> str:
    """The kind of the failure; its text may quote what was said."""
    if isinstance(error, TimeoutError):
        return "it takes too long"
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


def content(message: Message, sender: str, receiver: str, now_us: int) -> EmailMessage:
    """The mail. The Message-ID is the same at every attempt; news of one case form a thread."""
    domain = one_line(sender.rpartition("@")[2])
    mail = EmailMessage(policy=SMTP_POLICY)
    mail["From"] = sender
    mail["To"] = receiver
    mail["Subject"] = _subject(message)
    mail["Date"] = to_datetime(now_us)
    mail["Message-ID"] = f"<{message.uid}@{domain}>"
    if message.newest.kind != "question":
        thread = "".join(char if char.isalnum() or char in "-." else "-" for char in message.subject_id)
        mail["References"] = f"<{thread}@{domain}>"
    mail["List-Id"] = f"Jackstop <jackstop.{message.installation}.{domain}>"
    mail["List-Post"] = "NO"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(_text(message))
    mail.add_alternative(_html(message), subtype="html")
    return mail


def _subject(message: Message) -> str:
    mark = "closed" if message.newest.kind == "case.closed" else message.severity
    return f"[Jackstop {mark}] {message.title}"[:200] if mark else f"[Jackstop] {message.title}"[:200]


def _text(message: Message) -> str:
    parts = [message.newest.text or message.title]
    parts += ["\n".join(f"{name}: {value}" for name, value in shown_facts(message.facts))]
    parts += [f"What to do: {message.remediation}" if message.remediation else ""]
    parts += ["\n".join(f"{one_line(label)}:\n  {one_line(target)}" for label, target in message.actions)]
    if message.earlier:
        parts.append("\n".join(["Before that:", *message.earlier]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _html(message: Message) -> str:
    parts = [f"<h3>{escape(message.title)}</h3>", f"<p>{escape(message.newest.text).replace(chr(10), '<br>')}</p>"]
    facts = shown_facts(message.facts)
    if facts:
        rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts)
        parts.append(f"<table>{rows}</table>")
    if message.remediation:
        parts.append(f"<p>What to do: {escape(message.remediation)}</p>")
    parts += [f"<p>{_action(one_line(label), one_line(target))}</p>" for label, target in message.actions]
    if message.earlier:
        items = "".join(f"<li>{escape(line)}</li>" for line in message.earlier)
        parts.append(f"<p>Before that:</p><ul>{items}</ul>")
    return "<!doctype html><html><body>" + "\n".join(parts) + "</body></html>\n"


def _action(label: str, target: str) -> str:
    if is_link(target):
        return f'<a href="{escape(target)}">{escape(label)}</a>'
    return f"{escape(label)}: <code>{escape(target)}</code>"
