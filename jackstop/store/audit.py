"""The audit log: a hash chain of who changed what, written in the transaction of the change itself.

A row's `hash` is the SHA-256, in hex, of the canonical JSON of the object with the row's `seq`, `ts_us`,
`actor`, `tag`, `subject`, `detail` and `prev_hash`: keys sorted, no spaces, ASCII only
(`json.dumps(..., sort_keys=True, separators=(",", ":"))`). The first row has seq 1 and 64 zeros before it.
`meta.audit_head` repeats the last row's seq and hash; a checkpoint kept outside the database shows what
someone did who rewrote the rows and the head.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy import Row as DbRow

from jackstop.errors import UserError
from jackstop.store.engine import Store
from jackstop.store.tables import audit, meta

HEAD = "audit_head"
FIRST_PREV_HASH = "0" * 64
_BATCH_ROWS = 2_000


class Tag(Enum):
    """What can be in the log, as `source:subject:action`. `admin` is a person, `system` Jackstop itself."""

    INIT = "admin:installation:init"
    CREDENTIAL_ADD = "admin:credential:add"
    CREDENTIAL_ROTATE = "admin:credential:rotate"
    CREDENTIAL_CONTAIN = "admin:credential:contain"
    CREDENTIAL_RETIRE = "admin:credential:retire"
    CREDENTIAL_LINK = "admin:credential:link"
    CREDENTIAL_STANDBY = "admin:credential:standby"
    CREDENTIAL_LIMIT = "admin:credential:limit"
    ADMINISTRATION_ADD = "admin:administration:add"
    ADMINISTRATION_REMOVE = "admin:administration:remove"
    ROTATION_BEGIN = "admin:rotation:begin"
    ROTATION_CANCEL = "admin:rotation:cancel"
    ROTATION_ANSWER = "admin:rotation:answer"
    ROTATION_INVITE = "admin:rotation:invite"
    KEY_ISSUE = "admin:key:issue"
    KEY_ISSUE_UNBUDGETED = "admin:key:issue_unbudgeted"
    KEY_ROTATE = "admin:key:rotate"
    KEY_THROTTLE = "admin:key:throttle"
    KEY_QUARANTINE = "admin:key:quarantine"
    KEY_RELEASE = "admin:key:release"
    KEY_REVOKE = "admin:key:revoke"
    BUDGET_SET = "admin:budget:set"
    BUDGET_REMOVE = "admin:budget:remove"
    HOLD_RELEASE = "admin:hold:release"
    TEAM_ADD = "admin:team:add"
    TEAM_MODE = "admin:team:mode"
    PERSON_ADD = "admin:person:add"
    EVENTS_EXPORT = "admin:events:export"
    ADDRESSES_IMPORT = "admin:addresses:import"
    ADDRESSES_REMOVE = "admin:addresses:remove"
    DETECTION_ALLOW = "admin:detection:allow"
    DETECTION_DISALLOW = "admin:detection:disallow"
    CHANNEL_ADD = "admin:channel:add"
    CHANNEL_REMOVE = "admin:channel:remove"
    CHANNEL_TEST = "admin:channel:test"
    OUTBOX_REPLAY = "admin:outbox:replay"
    CLOCK_ACCEPT = "admin:clock:accept"
    CREDENTIAL_RESTORE = "admin:credential:restore"
    ALLOWANCE_DOUBLE = "admin:allowance:double"
    ALLOWANCE_END = "admin:allowance:end"
    CASE_NOTE = "admin:case:note"
    CASE_ALERT = "admin:case:alert"
    CASE_APPROVE = "admin:case:approve"
    CASE_DECLINE = "admin:case:decline"
    CASE_ANSWER = "admin:case:answer"
    CASE_UNLAWFUL = "admin:case:unlawful"
    CASE_CLOSE = "admin:case:close"
    CASE_REOPEN = "admin:case:reopen"
    CASE_EXPORT = "admin:case:export"
    SYSTEM_CASE_OPEN = "system:case:open"
    SYSTEM_CASE_REOPEN = "system:case:reopen"
    SYSTEM_CASE_RAISE = "system:case:raise"
    SYSTEM_CASE_ASK = "system:case:ask"
    SYSTEM_RESPONSE_AWAIT = "system:response:await"
    SYSTEM_KEY_THROTTLE = "system:key:throttle"
    SYSTEM_KEY_QUARANTINE = "system:key:quarantine"
    SYSTEM_KEY_RELEASE = "system:key:release"
    SYSTEM_CREDENTIAL_CONTAIN = "system:credential:contain"
    SYSTEM_CREDENTIAL_RESTORE = "system:credential:restore"
    SYSTEM_CREDENTIAL_ROTATE = "system:credential:rotate"
    SYSTEM_ROTATION_BEGIN = "system:rotation:begin"
    SYSTEM_ROTATION_END = "system:rotation:end"
    SYSTEM_ALLOWANCE_END = "system:allowance:end"
    KEK_ROTATE_BEGIN = "admin:vault:rotate_kek_begin"
    KEK_ROTATE_END = "admin:vault:rotate_kek_end"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A row of the chain, remembered outside the database."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Intact:
    """The whole chain holds; `head` is its last row."""

    head: Checkpoint


@dataclass(frozen=True, slots=True)
class Broken:
    """The chain does not hold at `seq`."""

    seq: int
    problem: str


def row_hash(seq: int, ts_us: int, actor: str, tag: str, subject: str, detail: dict[str, Any], prev_hash: str) -> str:
    """The hash of one row, as the module says."""
    content = {
        "seq": seq,
        "ts_us": ts_us,
        "actor": actor,
        "tag": tag,
        "subject": subject,
        "detail": detail,
        "prev_hash": prev_hash,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def record(
    conn: Connection, ts_us: int, actor: str, tag: Tag, subject: str, detail: dict[str, Any] | None = None
) -> int:
    """Append one row; returns its seq. The head stays locked until the commit, so the chain never forks.

    `detail` is JSON without floats, secrets and names of people (ids only). The very first row begins the
    chain. Raises RuntimeError when the chain was begun and its head is gone.
    """
    head = _head(conn)
    if head is None:
        if conn.execute(select(audit.c.seq).limit(1)).first() is not None:
            raise RuntimeError("the audit log has rows and no head")
        head = Checkpoint(0, FIRST_PREV_HASH)
        conn.execute(insert(meta).values(key=HEAD, value=""))
    seq = head.seq + 1
    content = detail or {}
    fresh = row_hash(seq, ts_us, actor, tag.value, subject, content, head.hash)
    conn.execute(
        insert(audit).values(
            seq=seq,
            ts_us=ts_us,
            actor=actor,
            tag=tag.value,
            subject=subject,
            detail=content,
            prev_hash=head.hash,
            hash=fresh,
        )
    )
    conn.execute(update(meta).where(meta.c.key == HEAD).values(value=f"{seq}:{fresh}"))
    return seq


def verify(store: Store, checkpoint: Checkpoint | None = None) -> Intact | Broken:
    """Walk the chain from its first row to its head, and through the checkpoint if there is one.

    Reads in short transactions, so that nothing else waits; rows that are added meanwhile are walked too.
    """
    last = Checkpoint(0, FIRST_PREV_HASH)
    while True:
        with store.begin() as conn:
            head = _head(conn)
            statement = select(audit).where(audit.c.seq > last.seq).order_by(audit.c.seq).limit(_BATCH_ROWS)
            rows = conn.execute(statement).all()
        for row in rows:
            problem = _broken(row, last)
            if problem:
                return Broken(last.seq + 1, problem)
            last = Checkpoint(row.seq, row.hash)
            if checkpoint is not None and checkpoint.seq == last.seq and checkpoint.hash != last.hash:
                return Broken(last.seq, "the row is not the one that the checkpoint remembers")
        if not rows:
            return _at_end(last, head, checkpoint)


def _broken(row: DbRow[Any], last: Checkpoint) -> str:
    if row.seq != last.seq + 1:
        return f"rows {last.seq + 1} to {row.seq - 1} are missing"
    if row.prev_hash != last.hash:
        return "the row does not follow the one before it"
    if row.hash != row_hash(row.seq, row.ts_us, row.actor, row.tag, row.subject, row.detail, row.prev_hash):
        return "the row was changed"
    return ""


def _at_end(last: Checkpoint, head: Checkpoint | None, checkpoint: Checkpoint | None) -> Intact | Broken:
    if last.seq == 0:
        return Broken(1, "the log is empty")
    if checkpoint is not None and checkpoint.seq > last.seq:
        return Broken(last.seq + 1, f"rows up to {checkpoint.seq}, which the checkpoint remembers, are missing")
    if head != last:
        return Broken(last.seq + 1, "the log does not end at its head: rows at the end are missing")
    return Intact(last)


def _head(conn: Connection) -> Checkpoint | None:
    text = conn.execute(select(meta.c.value).where(meta.c.key == HEAD).with_for_update()).scalar()
    if text is None:
        return None
    seq, _, value = text.partition(":")
    return Checkpoint(int(seq), value) if seq.isdigit() else Checkpoint(0, FIRST_PREV_HASH)


def read_checkpoint(text: str) -> Checkpoint:
    """A checkpoint file's content. Raises UserError when it is not one."""
    try:
        content = json.loads(text)
        return Checkpoint(int(content["seq"]), str(content["hash"]))
    except (ValueError, KeyError, TypeError):
        raise UserError(
            "the checkpoint file is not one that `jackstop audit verify` wrote",
            "name the right file, or a new one to begin again",
            2,
        ) from None


def write_checkpoint(checkpoint: Checkpoint) -> str:
    """The content of a checkpoint file."""
    return json.dumps({"seq": checkpoint.seq, "hash": checkpoint.hash}) + "\n"
