"""OpenAI's own OpenAPI document judges the practice OpenAI: Prism stands between its SDK and the sandbox."""

from __future__ import annotations

import contextlib
import gzip
import socket
import subprocess
import time
from typing import Any

import openai
import pytest

from tests.node import node, node_tool
from tests.shared import shared

pytestmark = pytest.mark.slow

START_S = 120
TOOL: Any = {
    "name": "weather",
    "parameters": {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]},
    "strict": True,
}


@pytest.fixture(scope="module")
def judged(_process, tmp_path_factory):
    """The address of a Prism that passes on what the document allows, in both directions."""
    spec = shared("specs/openai.openapi.json.gz")
    prism = node_tool("@stoplight/prism-cli", "5.16.0")
    folder = tmp_path_factory.mktemp("prism")
    (folder / "openapi.json").write_bytes(gzip.decompress(spec.read_bytes()))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [node(), prism, "proxy", "--errors", "-h", "127.0.0.1", "-p", str(port)]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [*command, folder / "openapi.json", f"{_process.url}/openai/v1"], stdout=log, stderr=log
        ) as process,
    ):
        try:
            _wait(process, port, folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait(process, port, log):
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError(f"Prism did not start: {log.read_text()[-2000:]}")


@pytest.fixture
def client(sandbox, judged):
    with openai.OpenAI(api_key="sk-judged", base_url=judged, max_retries=0, timeout=60) as made:
        yield made


def test_the_judge_sees_an_answer_that_the_document_does_not_allow(client):
    """It knows no vectors in base64, although the API and the SDK do."""
    with pytest.raises(openai.InternalServerError) as caught:
        client.embeddings.create(model="text-embedding-3-small", input="one", encoding_format="base64")
    assert caught.value.response.json()["type"].endswith("#VIOLATIONS")


def test_the_judge_sees_a_request_that_the_document_does_not_allow(client):
    with pytest.raises(openai.UnprocessableEntityError):
        client.responses.create(model=5, input="Hello")


@pytest.mark.parametrize(
    ("model", "directives", "more"),
    [
        ("gpt-4o-mini", "out=20", {}),
        ("gpt-4o-mini", "out=20 cached=3", {"n": 3, "max_tokens": 20, "service_tier": "priority"}),
        ("gpt-5", "out=20 reasoning=20", {"service_tier": "flex", "max_completion_tokens": 90}),
        ("gpt-6.1-sol", "out=20 cache_write=3 over_cap=5", {"reasoning_effort": "low"}),
        ("gpt-5-mini", "tool=1", {"tools": [{"type": "function", "function": TOOL}]}),
        ("gpt-4o-mini", "out=5", {"response_format": {"type": "json_object"}}),
        ("gpt-4o-mini", "no_usage=1", {}),
    ],
)
def test_chat(client, model, directives, more):
    messages: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": f"[[sandbox: {directives}]]"},
    ]
    assert client.chat.completions.create(model=model, messages=messages, **more).choices


@pytest.mark.parametrize(
    ("model", "directives", "more"),
    [
        ("gpt-4o-mini", "out=20", {"instructions": "Be brief.", "metadata": {"a": "b"}, "store": False}),
        ("gpt-4o-mini", "out=200", {"max_output_tokens": 16, "temperature": 0.5}),
        ("gpt-5", "out=20 reasoning=20 cached=3", {"reasoning": {"effort": "low"}, "service_tier": "flex"}),
        ("gpt-6.1-sol", "tool=1", {"tools": [{"type": "function", **TOOL}], "tool_choice": "auto"}),
        ("gpt-5", "searches=2 out=20", {"tools": [{"type": "web_search"}], "max_tool_calls": 3}),
        ("gpt-4o-mini", "out=20", {"text": {"format": {"type": "json_object"}}}),
    ],
)
def test_responses(client, model, directives, more):
    assert client.responses.create(model=model, input=f"Hello [[sandbox: {directives}]]", **more).output


def test_embeddings(client):
    answer = client.embeddings.create(
        model="text-embedding-3-small", input=["one", "two"], dimensions=64, encoding_format="float"
    )
    assert [len(item.embedding) for item in answer.data] == [64, 64]


def test_models(client):
    assert client.models.retrieve(client.models.list().data[0].id).object == "model"
