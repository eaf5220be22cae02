"""The common event schema: one flat row per request or log record."""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, omit_defaults=True, gc=False):
    """One row of the table `events`. Times are UTC microseconds, money is nano-dollars.

    Token counts are disjoint: `input_tokens` are those neither read from nor written to a cache;
    `output_tokens` include `reasoning_tokens`. Empty text and None mean "not known".
    """

    # who
    source: str = "gate"
    provider: str = ""
    service: str = ""
    account: str = ""
    region: str = ""
    inference_region: str = ""
    credential_id: str = ""
    provider_key_id: str = ""
    key_id: str = ""
    key_kind: str = ""
    auth_method: str = ""
    principal: str = ""
    principal_kind: str = ""
    session: str = ""
    owner: str = ""
    team: str = ""
    end_user_fp: str = ""
    # what
    action: str = ""
    action_class: str = ""
    endpoint: str = ""
    api_version: str = ""
    model_asked: str = ""
    model: str = ""
    target_kind: str = ""
    target_id: str = ""
    change: str = ""
    # result
    outcome: str = ""
    status: int | None = None
    error_code: str = ""
    error_message: str = ""
    stop_reason: str = ""
    decision: str = ""
    reason: str = ""
    # where from
    src_ip: str = ""
    src_net: str = ""
    src_raw: str = ""
    src_trust: str = ""
    asn: int | None = None
    as_org: str = ""
    country: str = ""
    network_kind: str = ""
    user_agent: str = ""
    ua_state: str = ""
    client: str = ""
    http_fp: str = ""
    referer_host: str = ""
    # how much
    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    max_output_asked: int | None = None
    max_output_sent: int | None = None
    service_tier: str = ""
    hold_nusd: int | None = None
    cost_nusd: int | None = None
    price_known: bool | None = None
    estimated: bool = False
    request_bytes: int | None = None
    response_bytes: int | None = None
    messages_n: int | None = None
    tools_n: int | None = None
    stream: bool | None = None
    latency_us: int | None = None
    ttft_us: int | None = None
    # shape
    system_fp: str = ""
    tools_fp: str = ""
    conversation_fp: str = ""
    request_fp: str = ""
    markers: str = ""
    # bookkeeping
    ts: int = 0
    seen_ts: int = 0
    event_id: str = ""
    gate_id: str = ""
    request_id: str = ""
    raw_ref: str = ""
    extra: str = ""


COLUMNS: tuple[str, ...] = Event.__struct_fields__
