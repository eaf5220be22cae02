"""Record: a provider's error message as a template; never content.

Only words of a fixed list are kept. Everything else that stands in a message (quoted values, names, ids,
numbers, whatever a provider repeats of the request) becomes one `*`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

MAX_CHARS = 160
_READ_BYTES = 64 * 1024
_TOKEN = re.compile(r"[A-Za-z]+(?:_[A-Za-z]+)*|[^A-Za-z]+")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|“[^”]*”")
_CODE = re.compile(r"[a-z][a-z0-9_.]{1,47}")
_VOCABULARY = """
    a above access account active after allowed already an and any api are argument array assistant at available
    balance be because been before below beta billing blocked body but by call calls can cannot capacity check
    client combined completion completions content context context_length_exceeded contact could count credentials
    credit credits current currently daily deactivated deprecated details did disabled do does due duplicate each either
    empty enabled end endpoint engine error errors exceed exceeded exceeds exist expected expired failed field file
    filter first float following for format forbidden found free from function generated got greater had has have
    header high image images in incorrect input insufficient integer internal invalid invalid_api_key is issue it its
    item items json key large least length less limit limited limits list long lower maximum may max_tokens
    max_completion_tokens max_output_tokens max_tokens_to_sample message messages method minimum minute missing model
    models more most must name must_be need negative no non not null number object occurred of on one only or
    organization output overloaded parameter parse part per permission permissions plan please policy prefill project
    prompt property provide provided quota range rate rate_limit_exceeded reached reason reduce region request
    requested requests required resource response result retry role safety schema see server service short should size
    some stop stream string supplied support supported system temperature text than that the there thinking this tier
    time timeout to token tokens too tool tool_calls tool_choice tool_result tool_use tools top_p total try type
    unable unauthorized unavailable unexpected unknown unrecognized unsupported up upgrade usage use used user valid
    value values version via violates was we were when which while with without within would you your
    """
_WORDS = frozenset(_VOCABULARY.split())


def template(message: str) -> str:
    """The message with all but known words taken out, at most MAX_CHARS long."""
    kept: list[str] = []
    for token in _TOKEN.findall(_QUOTED.sub(" 0 ", message[: 8 * MAX_CHARS])):
        if token[0].isalpha() and token[0].isascii():
            word = token if token.lower() in _WORDS else "*"
        elif token.strip(" .,:;()[]-\n"):
            word = "*"
        else:
            continue
        if word != "*" or not kept or kept[-1] != "*":
            kept.append(word)
    return " ".join(kept)[:MAX_CHARS]


def read_error(body: bytes) -> tuple[str, str]:
    """Code and templated message of a provider's error body, both empty where it has none. Never raises."""
    try:
        document: Any = msgspec.json.decode(body[:_READ_BYTES])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return "", ""
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, str):
        return "", template(error)
    if not isinstance(error, dict):
        return "", ""
    names = [value for value in (error.get("code"), error.get("type")) if isinstance(value, str)]
    code = next((value for value in names if _CODE.fullmatch(value)), "")
    message = error.get("message")
    return code, template(message) if isinstance(message, str) else ""
