"""Distinctive secrets are planted, every command is run, and nothing that stays or is said may hold them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jackstop.keys import format as key_format

FIRST = "sk-distinctive-first-aXq81Lz0WcPe"
SECOND = "sk-distinctive-second-Zm4TnB7yKdRu"


def spellings(secret: bytes) -> list[bytes]:
    return [secret, secret.hex().encode(), base64.b64encode(secret).rstrip(b"=")[:-2], secret[::-1]]


def files(root: Path) -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in root.rglob("*") if path.is_file()]


def test_no_secret_stays_anywhere_or_is_said_twice(shell: Any, tmp_path: Path) -> None:
    shell.ok("credential", "add", "main", "--provider", "openai", "--base-url", "http://127.0.0.1:9", stdin=FIRST)
    issued = ("key", "issue", "--owner", "a@example.com", "--name", "n", "--credential", "main", "--json")
    made = shell.ok(*issued).json
    rotated = shell.ok("key", "rotate", made["id"], "--json").json
    shell.said = ""

    shell("credential", "add", "main", "--provider", "openai", stdin=FIRST)
    shell("credential", "add", "wrong", "--provider", "nobody", stdin=FIRST)
    shell("credential", "add", "wrong", "--provider", "openai", "--base-url", "http://example.com", stdin=FIRST)
    shell("credential", "rotate", "main", stdin=FIRST)
    shell.ok("credential", "rotate", "main", stdin=SECOND)
    for command in (
        ("credential", "list"),
        ("credential", "check"),
        ("key", "list"),
        ("key", "show", made["id"]),
        ("key", "show", made["key"]),
        ("key", "throttle", rotated["key"]),
        ("key", "quarantine", made["id"]),
        ("key", "release", made["id"]),
        ("budget", "show"),
        ("budget", "holds"),
        ("budget", "set", f"key:{made['id']}", "5usd/day"),
        ("team", "list"),
        ("people", "list"),
        ("report", "rollout"),
        ("audit", "verify", "--checkpoint", str(shell.home.root / "checkpoint")),
        ("vault", "rotate-kek"),
        ("doctor",),
        ("key", "revoke", made["id"]),
        ("credential", "contain", "main"),
        ("credential", "retire", "main"),
    ):
        shell(*command)
        shell(*command, "--json")
    shell("events", "export")

    planted = [FIRST.encode(), SECOND.encode()]
    for key in (made["key"], rotated["key"]):
        parsed = key_format.parse(key)
        assert parsed is not None
        planted += [key.encode(), key.rpartition("_")[2].encode()]
    kept = [*files(shell.home.root), ("what was printed", shell.said.encode())]
    assert {"jackstop.db", "kek"} <= {name for name, _ in kept}
    for secret in planted:
        for spelling in spellings(secret):
            assert [name for name, content in kept if spelling in content] == []
