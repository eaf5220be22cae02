"""Settings: `jackstop.toml` in the home folder, each also as an environment variable `JACKSTOP_…`."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from jackstop.errors import UserError

Mode = Literal["observe", "enforce"]
KEK_VARIABLE = "JACKSTOP_KEK"
"""The key-encryption key, where `vault.backend` is `env`; only control gets to see it."""


class GateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the gate listens, what it bears from clients and providers, and for how long."""

    listen: str = "127.0.0.1:8080"
    tls_cert: str = ""
    tls_key: str = ""
    behind_tls: bool = False
    proxy_protocol: bool = False
    trusted_proxies: tuple[str, ...] = ()
    upstream_ca: str = ""
    max_header_bytes: int = 65_536
    max_headers: int = 100
    max_body_bytes: int = 32 * 1024 * 1024
    max_connections: int = 16_384
    max_buffered_bytes: int = 512 * 1024 * 1024
    header_timeout_s: int = 10
    body_timeout_s: int = 30
    idle_timeout_s: int = 75
    write_timeout_s: int = 60
    connect_timeout_s: int = 10
    response_timeout_s: int = 600
    stream_idle_timeout_s: int = 300
    drain_timeout_s: int = 120
    drain_max: int = 256
    on_disconnect: Literal["drain", "close"] = "drain"
    lease_wait_ms: int = 250
    lease_queue: int = 1024
    max_staleness_s: int = 600
    max_staleness_in_case_s: int = 60
    shutdown_timeout_s: int = 60


class LedgerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How money is leased, and what an unknown price costs."""

    outage_window_s: int = 300
    unknown_price: Literal["dearest", "refuse"] = "dearest"
    clamp: bool = False
    default_budget: str = "20usd/day"
    default_max_output: int = 8_192


class JournalSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The gate's append-only files."""

    segment_bytes: int = 16 * 1024 * 1024
    sync_interval_ms: int = 200


class LakeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Events as Parquet."""

    flush_interval_s: int = 10
    retention_days: int = 180
    address_retention_days: int = 90


class ResponseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is done by itself about findings, per severity, and for how long."""

    medium: Literal["note", "alert", "throttle", "quarantine"] = "alert"
    high: Literal["note", "alert", "throttle", "quarantine"] = "throttle"
    critical: Literal["note", "alert", "throttle", "quarantine"] = "quarantine"
    throttle_rate: str = "6req/min"
    throttle_for: str = "1h"
    approval_s: int = 900
    unanswered: Literal["wait", "act"] = "wait"
    contain: Literal["approve", "act"] = "approve"
    contain_outage: Literal["approve", "act"] = "approve"
    contact: str = ""


class DetectionsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which detections run, how often, and with how much memory."""

    off: tuple[str, ...] = ()
    cadence_s: int = 5
    memory_mb: int = 1_024


class RotationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often credentials get a new secret, and how carefully the old one is ended."""

    every: str = "30d"
    expires: str = ""
    drain_max_s: int = 600
    watch_s: int = 300
    wait_s: int = 3_600
    attempts: Annotated[int, msgspec.Meta(ge=1)] = 5


class AlertSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said about spending: alerts on budgets, and a digest of each day."""

    thresholds: tuple[Annotated[int, msgspec.Meta(ge=1, le=1_000)], ...] = (50, 80, 100)
    forecast: bool = True
    burn_rate: bool = True
    digest_at: Annotated[str, msgspec.Meta(pattern=r"^(([01]\d|2[0-3]):[0-5]\d)?$")] = "07:00"


class NotifySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How news go out on channels."""

    group_s: int = 60
    attempts: int = 24
    retention_days: int = 30


class StoreSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The database: empty means SQLite in the home folder."""

    url: str = ""


class VaultSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the key-encryption key is: `file` (0600, in the home folder) or `env` (`JACKSTOP_KEK`)."""

    backend: Literal["file", "env"] = "file"
    key_file: str = ""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a user can set, with its default."""

    mode: Mode = "observe"
    console: str = "127.0.0.1:8081"
    console_url: str = ""
    workers: int = 1
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    gate: GateSettings = GateSettings()
    ledger: LedgerSettings = LedgerSettings()
    journal: JournalSettings = JournalSettings()
    lake: LakeSettings = LakeSettings()
    detections: DetectionsSettings = DetectionsSettings()
    responses: ResponseSettings = ResponseSettings()
    rotation: RotationSettings = RotationSettings()
    alerts: AlertSettings = AlertSettings()
    notify: NotifySettings = NotifySettings()
    store: StoreSettings = StoreSettings()
    vault: VaultSettings = VaultSettings()


class Home:
    """The folder that holds all state, and the paths in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "jackstop.toml"
        self.database = root / "jackstop.db"
        self.kek = root / "kek"
        self.journal = root / "journal"
        self.lake = root / "lake"
        self.rollups = root / "rollups"
        self.addresses = root / "addresses"
        self.run = root / "run"
        self.control_socket = self.run / "control.sock"
        self.control_lock = self.run / "control.lock"
        self.parent_pid = self.run / "parent.pid"
        self.logs = root / "logs"

    @classmethod
    def from_environment(cls) -> Home:
        """`JACKSTOP_HOME`, or `~/.jackstop`."""
        return cls(Path(os.environ.get("JACKSTOP_HOME") or "~/.jackstop").expanduser().absolute())

    def create(self) -> None:
        """Make the folders, readable by their owner alone."""
        for folder in (self.root, self.journal, self.lake, self.rollups, self.run, self.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)


def _from_environment(struct: type[msgspec.Struct], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        name = f"{prefix}_{field.name.upper()}"
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            section = _from_environment(field.type, name)
            if section:
                found[field.name] = section
        elif name in os.environ:
            text = os.environ[name]
            is_list = str(field.type).startswith("tuple")
            found[field.name] = [part.strip() for part in text.split(",") if part.strip()] if is_list else text
    return found


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        inner = merged.get(name)
        merged[name] = _merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def load(home: Home) -> Settings:
    """Read the file, then the environment over it.

    Raises UserError that names the file and the setting when one of them is wrong.
    """
    written: dict[str, Any] = {}
    try:
        written = tomllib.loads(home.config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        pass
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{home.config} is not TOML: {error}", "mend the line it names", 2) from None
    try:
        return msgspec.convert(_merge(written, _from_environment(Settings, "JACKSTOP")), Settings, strict=False)
    except msgspec.ValidationError as error:
        raise UserError(
            f"a setting is wrong: {error}", f"look at {home.config} and at JACKSTOP_… in the environment", 2
        ) from None
