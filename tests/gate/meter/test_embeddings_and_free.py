from __future__ import annotations

import pytest

from jackstop.gate.meter.base import Usage
from jackstop.gate.meter.free import COUNT_TOKENS, MODERATIONS
from jackstop.gate.meter.openai_embeddings import EMBEDDINGS
from tests.gate.meter.asking import USER, ask, refused

MODEL = "text-embedding-3-small"


@pytest.mark.parametrize("given", [None, 7, [], {}, [1.5], [[1, "x"]], [True], ["x", 7], [None]])
def test_wrong_inputs_are_malformed(given):
    found = refused(EMBEDDINGS, {"model": MODEL, "input": given})
    assert (found.reason, found.status) == ("malformed", 400)


@pytest.mark.parametrize("given", ["hello", ["hello", "world"], ["hello", [1, 2, 3]]])
def test_texts_are_bounded_by_their_bytes(given):
    found = ask(EMBEDDINGS, {"model": MODEL, "input": given})
    assert found.input_bound >= len(str(given))
    assert not found.has_output
    assert found.output_cap is None


@pytest.mark.parametrize(("given", "tokens"), [([50_000] * 900, 900), ([[1, 2, 3], [4]], 4)])
def test_token_ids_are_counted(given, tokens):
    found = ask(EMBEDDINGS, {"model": MODEL, "input": given})
    assert tokens <= found.input_bound < tokens + 100


def test_nothing_is_rewritten():
    body = {"model": MODEL, "input": "x"}
    assert EMBEDDINGS.rewrite(b"{}", ask(EMBEDDINGS, body), 5) == b"{}"
    assert EMBEDDINGS.texts({"input": ["a", [1]]}) == ["a"]


def test_free_routes_cost_nothing_and_name_their_model():
    found = ask(COUNT_TOKENS, {"model": "claude-opus-5", "messages": [USER]})
    assert (found.model, found.input_bound, found.has_output) == ("claude-opus-5", 0, False)
    assert COUNT_TOKENS.whole(b'{"input_tokens": 9}').usage == Usage()
    assert COUNT_TOKENS.whole(b"").complete
    assert refused(COUNT_TOKENS, {"messages": [USER]}).reason == "malformed"
    assert ask(MODERATIONS, {"input": "x"}).model == "omni-moderation-latest"
