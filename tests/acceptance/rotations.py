"""Credentials whose keys the practice providers made: rotated and contained, while they are used and things die."""

import http.client
import json
import threading
import urllib.error
import urllib.request
from contextlib import closing, contextmanager, suppress
from typing import NamedTuple

from jackstop.errors import UserError
from tests.acceptance.breaking import Breakable
from tests.acceptance.system import get, until

OPENAI = ("/openai/v1/chat/completions", {"model": "gpt-4o-mini"})
ANTHROPIC = ("/anthropic/v1/messages", {"model": "claude-haiku-4-5"})
STEPS = {
    "openai": ("note", "create", "verify", "watch", "delete", "refused"),
    "azure": ("note", "create", "verify", "delete", "refused"),
    "anthropic": ("note", "verify", "disable", "delete", "refused"),
}
"""What the worker does at each provider; of a containment there is no `watch`."""
TURNS = ("begins", "done", "recorded")
"""Of a step: in the worker before it and after it, and in control when that is written down."""
OWN = ("rotation-given", "rotation-switching", "rotation-switched")
QUICK = {"JACKSTOP_ROTATION_WATCH_S": "0", "JACKSTOP_ROTATION_WAIT_S": "0", "JACKSTOP_MODE": "enforce"}
DRIVERS = tuple(STEPS)


def gaps(driver, act="rotate"):
    """Every place between two steps, in the worker and in control."""
    steps = [step for step in STEPS[driver] if (act, step) != ("contain", "watch")]
    standby = ["rotation-taking-standby"] if driver == "anthropic" else []
    return [*(f"rotation-{step}-{turn}" for step in steps for turn in TURNS), *OWN, *standby]


class Kept(NamedTuple):
    """A credential at a practice administration, and a Jackstop key that uses it."""

    name: str
    driver: str
    secret: str
    key: str


class Rotating(Breakable):
    """A system whose credentials are rotated quickly."""

    def __init__(self, folder, workers=1, **environment):
        super().__init__(folder, workers, {**QUICK, **environment})

    def post(self, path, fields):
        body = json.dumps(fields).encode()
        request = urllib.request.Request(self.sandbox.url + path, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def seed(self, provider, **place):
        return self.post("/_sandbox/keys", {"provider": provider, **place})

    def keep(self, driver, name=""):
        """A credential with a key that the provider knows, linked to where that is made, and a key of Jackstop's."""
        self._numbers += 1
        name = name or f"{driver}-{self._numbers}"
        url, secret = self.sandbox.url, f"sk-admin-{driver}-practice"
        if driver == "openai":
            place = {"project": f"proj_{name}", "service_account": "sa_gate"}
            made, base, admin, options = self.seed(driver, **place), f"{url}/openai", f"{url}/openai/v1", {}
        elif driver == "azure":
            place = {"subscription": "sub", "resource_group": "group", "account": name}
            made, base, admin = self.seed(driver, account=name, slot="Key1"), f"{url}/azure/{name}/openai", f"{url}/arm"
            options = {"tenant": "t", "client_id": "c", "login_url": f"{url}/entra"}
        else:
            place = {"workspace": f"wrkspc_{name}"}
            made, base, admin, options = self.seed(driver, **place), f"{url}/anthropic", f"{url}/anthropic", {}
            secret = "sk-ant-admin01-practice"
        provider = "anthropic" if driver == "anthropic" else "openai"
        self.tell(
            "credential add",
            name=name,
            provider=provider,
            base_url=base,
            secret=made["secret"],
            provider_key_id=made["id"],
        )
        if not any(row["name"] == driver for row in self.tell("administration list")["rows"]):
            self.tell("administration add", name=driver, driver=driver, base_url=admin, options=options, secret=secret)
        self.tell("administration link", name=name, administration=driver, place=place)
        row = self.tell("key issue", owner="app@example.com", name=name, credential=name, budget=["1000usd/day"])
        return Kept(name, driver, made["secret"], row["key"])

    def deposit(self, kept):
        """Another key at the provider, as this credential's standby; its secret."""
        made = self.seed(kept.driver, workspace=f"wrkspc_{kept.name}")
        self.tell("administration standby", name=kept.name, secret=made["secret"], provider_key_id=made["id"])
        return made["secret"]

    def begin_act(self, kept, act):
        """Begin it as a person does, in the one way that works for this provider without a person's secret."""
        if kept.driver == "anthropic":
            self.deposit(kept)
        self.tell(f"credential {act}", name=kept.name)

    def latest(self, kept):
        return self.tell("rotation list", name=kept.name)["rows"][0]

    def wait_done(self, kept, seconds=60):
        """The rotation as it ended."""
        seen = None

        def over():
            nonlocal seen
            with suppress(UserError, OSError):  # control may be away, and comes back
                seen = self.latest(kept)
            return seen is not None and seen["state"] == "done"

        try:
            until(over, "the rotation's end", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {seen}") from None
        return seen

    def _rows(self, kept):
        place = {"openai": "project", "azure": "account", "anthropic": "workspace"}[kept.driver]
        name = {"openai": f"proj_{kept.name}", "azure": kept.name, "anthropic": f"wrkspc_{kept.name}"}[kept.driver]
        rows = get(f"{self.sandbox.url}/_sandbox/keys", 30)
        return [row for row in rows if row["provider"] == kept.driver and row["place"].get(place) == name]

    def keys(self, kept):
        """The credential's keys at the provider: {id: state}."""
        return {row["id"]: row["state"] for row in self._rows(kept)}

    def in_use(self, kept):
        """The fingerprint of the secret that the provider has under the id of the credential's key, if it works."""
        key_id = {row["name"]: row for row in self.tell("credential list")["rows"]}[kept.name]["provider_key_id"]
        return next(row["fingerprint"] for row in self._rows(kept) if (row["id"], row["state"]) == (key_id, "active"))

    def working(self, kept):
        """The fingerprints of all secrets that the provider accepts."""
        return {row["fingerprint"] for row in self._rows(kept) if row["state"] == "active"}

    def accepts(self, kept, secret):
        """The provider's answer to a secret, asked directly."""
        if kept.driver == "anthropic":
            headers = {"x-api-key": secret, "anthropic-version": "2023-06-01"}
        else:
            headers = {"authorization": f"Bearer {secret}"}
        base = {row["name"]: row["base_url"] for row in self.tell("credential list")["rows"]}[kept.name]
        return _status(urllib.request.Request(f"{base}/v1/models", headers=headers)) == 200

    def check(self, kept):
        """One key is active at the provider, which the credential has, and the gate can use it; no other is left."""
        credential = {row["name"]: row for row in self.tell("credential list")["rows"]}[kept.name]
        keys = self.keys(kept)
        if kept.driver == "azure":
            # Of two slots both have a key always; what the other slot has nobody was told.
            assert set(keys) <= {"Key1", "Key2"}, keys
        else:
            active = [each for each, state in keys.items() if state == "active"]
            assert active == [credential["provider_key_id"]], keys
        assert credential["state"] == "active"
        assert chat(self, kept) == (200, None)


def request(kept, *, stream=False, out=5, **directive):
    """Path, headers and body of one chat with a key."""
    path, body = ANTHROPIC if kept.driver == "anthropic" else OPENAI
    words = " ".join(f"{name}={value}" for name, value in {"out": out, **directive}.items())
    message = {"role": "user", "content": f"Good morning [[sandbox: {words}]]"}
    whole = {**body, "max_tokens": max(out, 5), "messages": [message], "stream": stream}
    headers = {"authorization": f"Bearer {kept.key}", "content-type": "application/json"}
    if kept.driver == "anthropic":
        headers["anthropic-version"] = "2023-06-01"
    return path, headers, json.dumps(whole).encode()


def _status(asked):
    """200, or 401 for a key that is refused."""
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
        return error.code


def chat(system, kept, **options):
    """One chat through the gate; its status, and the reason of a refusal."""
    path, headers, body = request(kept, **options)
    asked = urllib.request.Request(system.url + path, body, headers)
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            answer.read()
            return answer.status, None
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("x-jackstop-reason") or error.read()[:200].decode()


class Callers:
    """Applications that use credentials, one request after the other, for the block."""

    def __init__(self, system, *kept, pause_s=0.02):
        self._system, self._pause_s = system, pause_s
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(each,), daemon=True) for each in kept]
        self.good = 0
        self.failures = []

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        until(lambda: self.good > 5 or self.failures, "the first requests")
        return self

    def __exit__(self, *error):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, kept):
        link = http.client.HTTPConnection("127.0.0.1", self._system.port, timeout=30)
        with closing(link):
            while not self._stop.wait(self._pause_s):
                try:
                    path, headers, body = request(kept)
                    link.request("POST", path, body, headers)
                    answer = link.getresponse()
                    said = answer.read()
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append((kept.name, repr(error)))
                    link.close()
                    continue
                if answer.status == 200:
                    self.good += 1
                else:
                    why = answer.getheader("x-jackstop-reason") or said[:200]
                    self.failures.append((kept.name, answer.status, why))


def found_in_files(system, secrets):
    """Which of these stand in any file of the installation's, or in what it wrote to its terminal."""
    files = [path for path in system.home.rglob("*") if path.is_file()] + [system.folder / "up.log"]
    contents = b"".join(path.read_bytes() for path in files)
    return [secret for secret in secrets if secret.encode() in contents]


@contextmanager
def rotating(folder, **environment):
    """A system for the block."""
    system = Rotating(folder, **environment)
    try:
        yield system.begin()
    finally:
        system.close()


def kill_in(system, kept, act, gaps):
    """Rotate or contain, and kill whoever comes to each of these gaps; nothing of that may be seen afterwards."""
    before = {gap: len(system.killed(gap)) for gap in gaps}
    for gap in gaps:
        system.arm(gap)
    system.begin_act(kept, act)
    for gap in gaps:
        until(lambda gap=gap: len(system.killed(gap)) > before[gap], f"a process dies in {gap}", 60)
    system.wait_whole()
    row = system.wait_done(kept)
    assert row["act"] == act
    system.check(kept)
