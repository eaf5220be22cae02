"""Official SDKs, unmodified but for base URL and key, through the running gate; every cost as the provider bills it."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import anthropic
import httpx2
import openai
import pytest

from tests.acceptance import callers
from tests.acceptance.callers import CHAT, CLAUDE, DEEPSEEK, EMBEDDINGS, RESPONSES, client, done, everything, say
from tests.node import node, node_modules

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

ROOT = Path(__file__).resolve().parents[2]
FORMS = ("", "sk-")
"""What may stand before a key, for applications that insist on it."""
OLD_ANTHROPIC = Path(__file__).with_name("anthropic_1.lock")


async def chats(made, model=CHAT):
    """Chat completions of an OpenAI client, whole and streamed; the provider's ids of them."""
    create = made.chat.completions.create
    answer = await done(create(model=model, messages=say("out=12"), max_tokens=50))
    assert answer.usage.completion_tokens == 12
    assert len(answer.choices[0].message.content.split()) <= 12
    ids = [callers.request_id(answer)]
    for asked in (True, False):
        more = {"stream_options": {"include_usage": True}} if asked else {}
        stream = await done(create(model=model, messages=say("out=30"), max_tokens=50, stream=True, **more))
        chunks = await everything(stream)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text
        reported = [chunk for chunk in chunks if chunk.usage]
        if model == CHAT:
            assert [bool(chunk.choices) for chunk in reported] == ([False] if asked else [])
            assert all(chunk.choices for chunk in chunks[:-1])
        if asked:
            assert reported[-1].usage.completion_tokens == 30
        ids.append(callers.request_id(stream))
    return ids


async def responses(made):
    """Responses, whole and streamed."""
    create = made.responses.create
    answer = await done(create(model=RESPONSES, input="Good morning [[sandbox: out=40]]", max_output_tokens=100))
    assert answer.usage.output_tokens == 40
    stream = await done(
        create(model=RESPONSES, input="Good morning [[sandbox: out=40]]", max_output_tokens=100, stream=True)
    )
    events = await everything(stream)
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[-1].response.usage.output_tokens == 40
    return [callers.request_id(answer), callers.request_id(stream)]


async def messages(made, model=CLAUDE):
    """Messages, whole, streamed by events, and by the SDK's own stream helper."""
    whole = {"model": model, "max_tokens": 60, "messages": say("out=25")}
    answer = await done(made.messages.create(**whole))
    assert answer.usage.output_tokens == 25
    stream = await done(made.messages.create(**whole, stream=True))
    events = await everything(stream)
    assert [events[0].type, events[-1].type] == ["message_start", "message_stop"]
    assert next(event for event in events if event.type == "message_delta").usage.output_tokens == 25
    ids = [callers.request_id(answer), callers.request_id(stream)]
    helper = made.messages.stream(**whole)
    if hasattr(helper, "__aenter__"):
        async with helper as opened:
            final = await opened.get_final_message()
            ids.append(callers.request_id(opened))
    else:
        with helper as opened:
            final = opened.get_final_message()
            ids.append(callers.request_id(opened))
    assert final.usage.output_tokens == 25
    return ids


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", callers.OPENAI)
async def test_openai_in_all_its_calls(system, make, form):
    key, key_id = system.key()
    with client(make, system, form + key, "openai") as made:
        ids = await chats(made) + await responses(made)
        answer = await done(made.embeddings.create(model=EMBEDDINGS, input=["one text", "another"]))
        assert len(answer.data) == 2
        models = await done(made.models.list())
        assert CHAT in {model.id for model in models.data}
        model = await done(made.models.retrieve(CHAT))
        assert model.id == CHAT
        raw = await done(made.embeddings.with_raw_response.create(model=EMBEDDINGS, input="one more"))
        ids += [raw.headers["x-request-id"], callers.request_id(models), callers.request_id(model)]
        await callers.close(made)
    events = callers.settled(system, key_id, ids)
    assert {event["auth_method"] for event in events} == {"bearer"}
    assert {event["endpoint"] for event in events} == {"chat.completions", "responses", "embeddings", "models"}
    assert {event["decision"] for event in events} == {"admitted"}
    assert [event["stream"] for event in events if event["endpoint"] == "responses"] == [False, True]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", callers.ANTHROPIC)
async def test_anthropic_in_all_its_calls(system, make, form):
    key, key_id = system.key()
    with client(make, system, form + key, "anthropic") as made:
        ids = await messages(made)
        counted = await done(made.messages.count_tokens(model=CLAUDE, messages=say()))
        assert counted.input_tokens > 0
        models = await done(made.models.list())
        assert "claude-haiku-4-5-20251001" in {model.id for model in models.data}
        ids += [callers.request_id(counted), callers.request_id(models)]
        await callers.close(made)
    events = callers.settled(system, key_id, ids)
    assert {event["endpoint"] for event in events} == {"messages", "count_tokens", "models"}
    assert all(event["client"] for event in events)


@pytest.mark.parametrize("make", callers.ANTHROPIC)
async def test_a_key_in_both_headers_of_the_anthropic_sdk(system, make):
    key, key_id = system.key()
    with client(make, system, key, "anthropic", default_headers={"x-api-key": key}) as made:
        ids = await messages(made)
        await callers.close(made)
    callers.settled(system, key_id, ids)


@pytest.mark.parametrize("make", callers.OPENAI)
async def test_deepseek_by_the_openai_sdk(system, make):
    key, key_id = system.key()
    with client(make, system, key, "deepseek") as made:
        ids = await chats(made, DEEPSEEK)
        models = await done(made.models.list())
        assert DEEPSEEK in {model.id for model in models.data}
        await callers.close(made)
    events = callers.settled(system, key_id, ids)
    assert {event["provider"] for event in events} == {"deepseek"}


@pytest.mark.parametrize("make", callers.ANTHROPIC)
async def test_deepseek_by_the_anthropic_sdk(system, make):
    key, key_id = system.key()
    with client(make, system, key, "deepseek-anthropic") as made:
        ids = await messages(made, DEEPSEEK)
        await callers.close(made)
    callers.settled(system, key_id, ids)


@pytest.mark.parametrize("directive", ["cut_after=3", "error_after=3"])
@pytest.mark.parametrize("make", [*callers.OPENAI, *callers.ANTHROPIC])
async def test_a_stream_that_breaks_off_is_seen_to_break(system, make, directive):
    key, key_id = system.key()
    base = "openai" if make in callers.OPENAI else "anthropic"
    with client(make, system, key, base) as made:
        ask = {"max_tokens": 100, "messages": say(f"out=100 {directive}"), "stream": True}
        create = made.chat.completions.create if base == "openai" else made.messages.create
        stream = await done(create(model=CHAT if base == "openai" else CLAUDE, **ask))
        with pytest.raises((httpx2.HTTPError, openai.APIError, anthropic.APIError)):
            await everything(stream)
        await callers.close(made)
    (event,) = callers.events_of(system, key_id)
    row = callers.provider_rows(system)[event["request_id"][-callers.ID_CHARS :]]
    assert event["cost_nusd"] >= -(-row["units"] // callers.UNITS_PER_NUSD) > 0
    assert event["outcome"] == "error"


# -- other clients ----------------------------------------------------------------------------------------------------

OLD_CALLS = """
import json, sys
import anthropic
url, key = sys.argv[1:]
made = anthropic.Anthropic(api_key=key, base_url=url)
ask = dict(model="claude-haiku-4-5", max_tokens=60, messages=[{"role": "user", "content": "Hi [[sandbox: out=25]]"}])
answer = made.messages.create(**ask)
with made.messages.stream(**ask) as stream:
    final = stream.get_final_message()
assert (answer.usage.output_tokens, final.usage.output_tokens) == (25, 25)
assert made.messages.count_tokens(model=ask["model"], messages=ask["messages"]).input_tokens
ids = [answer._request_id or answer.id, stream.request_id or stream.response.headers["x-ds-trace-id"]]
refused = ""
try:
    anthropic.Anthropic(api_key="nobody", base_url=url).messages.create(**ask)
except anthropic.AuthenticationError as error:
    refused = error.response.headers["x-jackstop-reason"]
print(json.dumps({"version": anthropic.__version__, "ids": ids, "refused": refused}))
"""


@pytest.fixture(scope="module")
def old_anthropic():
    """A folder with the last `anthropic` below 2.0, from the lock; everything that it needs is installed here."""
    folder = ROOT / ".cache" / "anthropic_1"
    lock = OLD_ANTHROPIC.read_text()
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != lock:
        options = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--upgrade", "--target", str(folder)]
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                *options,
                "-r",
                OLD_ANTHROPIC,
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"pip cannot install {OLD_ANTHROPIC.name}: {done.stderr.strip()[-200:]}")
        stamp.write_text(lock)
    return folder


def run(words, **environment):
    """Run a program; the JSON that it printed."""
    done = subprocess.run(
        words, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("base", ["anthropic", "deepseek-anthropic"])
def test_an_anthropic_sdk_that_sends_x_api_key(system, old_anthropic, base):
    key, key_id = system.key()
    calls = (
        OLD_CALLS
        if base == "anthropic"
        else OLD_CALLS.replace(CLAUDE, DEEPSEEK).replace("assert made.messages.count_tokens", "# has none: ")
    )
    said = run([sys.executable, "-c", calls, system.url + callers.BASES[base], key], PYTHONPATH=str(old_anthropic))
    assert said["version"].startswith("1.")
    assert said["refused"] == "unauthorized"
    events = callers.settled(system, key_id, said["ids"])
    assert {event["auth_method"] for event in events} == {"x-api-key"}


NODE_CALLS = """
const OpenAI = require("openai");
const [url, key] = process.argv.slice(2);
(async () => {
  const client = new OpenAI({ apiKey: key, baseURL: url });
  const ask = { model: "gpt-4o-mini", max_tokens: 50, messages: [{ role: "user", content: "Hi [[sandbox: out=25]]" }] };
  const answer = await client.chat.completions.create(ask);
  const ids = [answer._request_id];
  const usage = [answer.usage.completion_tokens];
  for (const options of [{}, { stream_options: { include_usage: true } }]) {
    const call = client.chat.completions.create({ ...ask, ...options, stream: true });
    const { data, response } = await call.withResponse();
    let seen = 0;
    for await (const chunk of data) if (chunk.usage) seen = chunk.usage.completion_tokens;
    usage.push(seen);
    ids.push(response.headers.get("x-request-id"));
  }
  const input = "Hi [[sandbox: out=25]]";
  const whole = await client.responses.create({ model: "gpt-5", input, max_output_tokens: 50 });
  ids.push(whole._request_id);
  const refused = [];
  for (const [bad, body] of [["jsk_nobody", ask], [key, { ...ask, model: "o1-pro" }]]) {
    try {
      await new OpenAI({ apiKey: bad, baseURL: url }).chat.completions.create(body);
    } catch (error) {
      refused.push([error.constructor.name, error.status, error.code, error.headers.get("x-jackstop-reason")]);
    }
  }
  console.log(JSON.stringify({ ids, usage, refused }));
})();
"""


def test_the_openai_sdk_of_node(system, tmp_path):
    key, key_id = system.key("--model", "gpt-4o-mini", "--model", "gpt-5")
    script = tmp_path / "calls.cjs"
    script.write_text(NODE_CALLS)
    said = run([node(), script, f"{system.url}/openai/v1", key], NODE_PATH=str(node_modules()))
    assert said["usage"] == [25, 0, 25]
    assert said["refused"] == [
        ["AuthenticationError", 401, "invalid_api_key", "unauthorized"],
        ["PermissionDeniedError", 403, "model", "model"],
    ]
    events = callers.settled(system, key_id, said["ids"])
    assert [event["reason"] for event in events if event["decision"] == "refused"] == ["model"]


@pytest.fixture
def curl():
    """A function that calls a URL by curl, or by bytes on a socket where there is none: status, headers, body."""
    program = shutil.which("curl")
    if program is None:
        print("there is no curl here: its requests are written to a socket")

    def call(url, headers, content):
        if program is None:
            raw = by_socket(url, headers, content)
        else:
            words = [word for header in headers for word in ("-H", header)]
            command = [program, "-sS", "-i", "--max-time", "30", *words, "--data-binary", "@-", url]
            raw = subprocess.run(command, input=content.encode(), capture_output=True, timeout=60, check=True).stdout
        head, _, body = raw.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in rest), body

    return call


def by_socket(url, headers, content):
    """What curl would send, up to the connection's end."""
    parts = urlsplit(url)
    lines = [f"POST {parts.path}{'?' if parts.query else ''}{parts.query} HTTP/1.1", f"Host: {parts.netloc}", *headers]
    lines += ["User-Agent: curl/0", "Accept: */*", "Connection: close", f"Content-Length: {len(content)}"]
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as sock:
        sock.sendall("\r\n".join([*lines, "", content]).encode())
        with sock.makefile("rb") as file:
            return file.read()


@pytest.mark.parametrize(
    ("header", "method"),
    [
        ("authorization: Bearer {}", "bearer"),
        ("Authorization: bearer sk-{}", "bearer"),
        ("x-api-key: {}", "x-api-key"),
        ("api-key: {}", "api-key"),
        ("X-Goog-Api-Key: sk-{}", "x-goog-api-key"),
        ("", "query"),
        ("Expect: 100-continue\r\nAuthorization: Bearer {}", "bearer"),
    ],
)
def test_curl_with_the_key_in_every_place(system, curl, header, method):
    key, key_id = system.key()
    query = "" if header else f"?key={key}"
    ask = {"model": CHAT, "max_tokens": 50, "messages": say("out=5")}
    status, headers, body = curl(
        f"{system.url}/openai/v1/chat/completions{query}",
        ["content-type: application/json", *(line for line in header.format(key).split("\r\n") if line)],
        json.dumps(ask),
    )
    assert status == 200
    assert json.loads(body)["usage"]["completion_tokens"] == 5
    events = callers.settled(system, key_id, [headers["x-request-id"]])
    assert events[0]["auth_method"] == method
    assert key not in json.dumps(events)
