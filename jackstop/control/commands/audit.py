"""The audit log: is its chain whole, and the same as when it was last looked at."""

from __future__ import annotations

from typing import Any

from jackstop.control.commands import Context
from jackstop.store.audit import Broken, Checkpoint, verify


def verify_chain(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Walk the chain; optional `checkpoint` of an earlier walk as `{"seq", "hash"}`."""
    given = args.get("checkpoint")
    checkpoint = Checkpoint(int(given["seq"]), str(given["hash"])) if given else None
    outcome = verify(ctx.store, checkpoint)
    if isinstance(outcome, Broken):
        return {"ok": False, "broken_seq": outcome.seq, "problem": outcome.problem}
    return {"ok": True, "seq": outcome.head.seq, "hash": outcome.head.hash, "checked": checkpoint is not None}


COMMANDS = {"audit verify": verify_chain}
