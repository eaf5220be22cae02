"""Prices usage reports as the providers write them, by a table of this module alone: a check on the gate's own prices.

Nano-dollars per million tokens, from the price lists named in jackstop/sandbox/prices.toml, read by hand.
"""

import json
import time

# model: (input, cache read, cache write, cache write for an hour, output), in US dollars per million tokens
USD = {
    ("gpt-4o-mini-2024-07-18", "default"): (0.15, 0.075, 0.15, 0.15, 0.60),
    ("gpt-4o-2024-08-06", "default"): (2.50, 1.25, 2.50, 2.50, 10.00),
    ("gpt-5-2025-08-07", "default"): (1.25, 0.125, 1.25, 1.25, 10.00),
    ("gpt-5-2025-08-07", "flex"): (0.625, 0.0625, 0.625, 0.625, 5.00),
    ("gpt-5-2025-08-07", "priority"): (2.50, 0.25, 2.50, 2.50, 20.00),
    ("gpt-5-mini-2025-08-07", "default"): (0.25, 0.025, 0.25, 0.25, 2.00),
    ("gpt-6.1-sol", "default"): (2.00, 0.10, 2.50, 2.50, 10.00),
    ("gpt-6.1-sol", "flex"): (1.00, 0.05, 1.25, 1.25, 5.00),
    ("gpt-6.1-sol", "priority"): (4.00, 0.20, 5.00, 5.00, 20.00),
    ("gpt-6.1-sol", "long"): (4.00, 0.20, 5.00, 5.00, 15.00),
    ("text-embedding-3-small", "default"): (0.02, 0, 0, 0, 0),
    ("text-embedding-3-large", "default"): (0.13, 0, 0, 0, 0),
    ("claude-sonnet-4-5-20250929", "standard"): (3.00, 0.30, 3.75, 6.00, 15.00),
    ("claude-haiku-4-5-20251001", "standard"): (1.00, 0.10, 1.25, 2.00, 5.00),
    ("claude-opus-5-5", "standard"): (4.00, 0.20, 5.00, 8.00, 20.00),
    ("claude-opus-5-5", "fast"): (8.00, 0.40, 10.00, 16.00, 40.00),
    ("claude-opus-5-5", "us"): (4.40, 0.22, 5.50, 8.80, 22.00),
    ("deepseek-v4-flash", "default"): (0.15, 0.003, 0.15, 0.15, 0.60),
    ("deepseek-v4-flash", "peak"): (0.30, 0.006, 0.30, 0.30, 1.20),
    ("deepseek-v4-pro", "default"): (0.66, 0.022, 0.66, 0.66, 1.98),
    ("deepseek-v4-pro", "peak"): (1.32, 0.044, 1.32, 1.32, 3.96),
}
SEARCH_NUSD = 10_000_000
_LONG_ABOVE = 272_000


def payloads(body):
    """The JSON objects of a response body, whole or streamed."""
    if body.startswith(b"{"):
        return [json.loads(body)]
    lines = (line[5:].strip() for line in body.split(b"\n") if line.startswith(b"data:"))
    return [json.loads(line) for line in lines if line.startswith(b"{")]


def cost(body, provider, ts_us):
    """Nano-dollars that a response costs by its usage report, rounded up; None where it has none."""
    found = payloads(body)
    if provider == "anthropic":
        return _anthropic(found)
    if any(each.get("type") == "message" or "message" in each for each in found):
        return _deepseek_messages(found, ts_us)
    usage = model = tier = None
    for each in found:
        inner = each.get("response", each)
        usage = inner.get("usage") or usage
        model, tier = inner.get("model") or model, inner.get("service_tier") or tier
    if not usage:
        return None
    total = usage.get("prompt_tokens", usage.get("input_tokens"))
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    read, written = details.get("cached_tokens", 0), details.get("cache_write_tokens", 0)
    output = usage.get("completion_tokens", usage.get("output_tokens", 0))
    tier = tier or "default"
    if provider == "deepseek":
        tier = _deepseek_hour(ts_us)
    elif model == "gpt-6.1-sol" and total > _LONG_ABOVE:
        assert tier == "default"
        tier = "long"
    return _nusd(model, tier, total - read - written, read, written, 0, output)


def _anthropic(found):
    usage, model = _overlaid(found)
    if not usage:
        return None
    split = usage.get("cache_creation") or {}
    hour = split.get("ephemeral_1h_input_tokens", 0)
    tier = {"fast": "fast"}.get(usage.get("speed"), "standard")
    if usage.get("inference_geo") == "us":
        assert tier == "standard"
        tier = "us"
    searches = (usage.get("server_tool_use") or {}).get("web_search_requests", 0)
    tokens = (
        usage["input_tokens"],
        usage["cache_read_input_tokens"],
        usage["cache_creation_input_tokens"] - hour,
        hour,
    )
    return _nusd(model, tier, *tokens, usage["output_tokens"], searches=searches)


def _deepseek_messages(found, ts_us):
    usage, model = _overlaid(found)
    if not usage:
        return None
    tokens = (usage["input_tokens"], usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"], 0)
    return _nusd(model, _deepseek_hour(ts_us), *tokens, usage["output_tokens"])


def _overlaid(found):
    usage, model = {}, ""
    for each in found:
        inner = each.get("message", each)
        usage |= {name: value for name, value in (inner.get("usage") or {}).items() if value is not None}
        model = inner.get("model") or model
    return usage, model


def _deepseek_hour(ts_us):
    moment = time.gmtime(ts_us // 1_000_000)
    return "peak" if moment.tm_wday < 5 and moment.tm_hour in {1, 2, 3, 6, 7, 8, 9} else "default"


def _nusd(model, tier, fresh, read, write, write_hour, output, *, searches=0):
    rates = USD[model, tier]
    amounts = (fresh, read, write, write_hour, output)
    millionths = sum(amount * round(rate * 1_000_000_000) for amount, rate in zip(amounts, rates, strict=True))
    return -(-millionths // 1_000_000) + searches * SEARCH_NUSD
