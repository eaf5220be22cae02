"""One row of the table `usage`: what a provider reports of one key and model for one span of time."""

from __future__ import annotations

import msgspec
import pyarrow as pa

from jackstop.events.analytics import TABLES


class Usage(msgspec.Struct, omit_defaults=True, gc=False):
    """A bucket. `bucket` is UTC microseconds, `bucket_us` its length, money is nano-dollars.

    `account` is the project or workspace where the report tells them apart, `input_tokens` all input, cached or not.
    `cost_from` says who said the cost: the `provider`, the price `list`, `dearest` (twice the dearest of the list, for
    a model that is not on it), empty where nobody did. `price_nusd` is what a million of these tokens cost on average,
    `request_tokens` the mean input of a request; both 0 where that is not known.
    """

    provider: str = ""
    account: str = ""
    credential_id: str = ""
    provider_key_id: str = ""
    model: str = ""
    service_tier: str = ""
    context_window: str = ""
    bucket: int = 0
    bucket_us: int = 0
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nusd: int = 0
    cost_from: str = ""
    price_nusd: int = 0
    request_tokens: int = 0


COLUMNS: tuple[str, ...] = Usage.__struct_fields__

SCHEMA = pa.schema([(name, pa.string() if kind == "VARCHAR" else pa.int64()) for name, kind in TABLES["usage"].items()])
"""The columns of a Parquet file of usage rows."""

IDENTITY = tuple(
    name
    for name in COLUMNS
    if name not in {"requests", "input_tokens", "output_tokens", "cost_nusd", "price_nusd", "request_tokens"}
)
"""What tells one bucket from another: a bucket that was exported twice is one, and what was exported later is more."""
