"""CloudWatch's minutes of what models did for an AWS account, by model. It does not tell keys apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from jackstop.clock import US_PER_S, from_datetime, to_datetime
from jackstop.providers.drivers.aws_client import client, pages
from jackstop.providers.drivers.driver import Administration, Bucket

Buckets = list[Bucket]

PERIOD_S = 60
WIDTH_US = PERIOD_S * US_PER_S
POLL_S = 60
DELAY_S = 300
"""An allowance: AWS says "near real-time" and gives no number."""

STATEMENT: dict[str, Any] = {
    "Effect": "Allow",
    "Action": ["cloudwatch:ListMetrics", "cloudwatch:GetMetricData"],
    "Resource": "*",
}
"""What reading takes. Neither action can be narrowed to a resource (Service Authorization Reference, CloudWatch)."""

_QUERIES = 500
"""GetMetricData takes at most so many queries in one call (CloudWatch API Reference, GetMetricData)."""


class Metrics(NamedTuple):
    """Where one of Bedrock's endpoints counts: the names that its documentation gives, by a bucket's field."""

    namespace: str
    dimension: str
    fields: Mapping[str, str]


RUNTIME = Metrics(
    "AWS/Bedrock",
    "ModelId",
    {
        "requests": "Invocations",
        "input_tokens": "InputTokenCount",
        "cache_read_tokens": "CacheReadInputTokens",
        "cache_write_tokens": "CacheWriteInputTokens",
        "output_tokens": "OutputTokenCount",
    },
)
"""`bedrock-runtime` (docs.aws.amazon.com/bedrock/latest/userguide/monitoring-runtime-metrics.html).

Whether its input tokens are without the cache's, as in a response's usage, is not said there.
"""

MANTLE = Metrics(
    "AWS/BedrockMantle",
    "Model",
    {"requests": "Inferences", "input_tokens": "TotalInputTokens", "output_tokens": "TotalOutputTokens"},
)
"""`bedrock-mantle` (docs.aws.amazon.com/bedrock/latest/userguide/monitoring-mantle-metrics.html)."""


def read(metrics: Metrics, admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> Buckets:
    """The minutes of every model that was active lately; none where the place names no region. Raises CallFailed.

    ListMetrics shows what had data in the last two weeks, so the span has to begin within them.
    """
    region = place.get("region", "")
    if not region:
        return []
    watch = client("cloudwatch", admin.secret, region=region, url=admin.options.get("cloudwatch_url", ""), ca=admin.ca)
    wanted = [(model, field, name) for model in _models(watch, metrics) for field, name in metrics.fields.items()]
    queries = [_query(f"q{number}", metrics, model, name) for number, (model, _, name) in enumerate(wanted)]
    start = to_datetime(since_us - since_us % WIDTH_US)
    counts: dict[tuple[int, str], dict[str, int]] = {}
    for first in range(0, len(queries), _QUERIES):
        asked = queries[first : first + _QUERIES]
        span = {"StartTime": start, "EndTime": to_datetime(until_us)}
        for result in pages(watch, "get_metric_data", "MetricDataResults", MetricDataQueries=asked, **span):
            model, field, _ = wanted[int(result["Id"].removeprefix("q"))]
            for at, value in zip(result["Timestamps"], result["Values"], strict=True):
                counts.setdefault((from_datetime(at), model), {})[field] = int(value)
    return [
        msgspec.structs.replace(Bucket(start_us=start_us, width_us=WIDTH_US, model=model), **found)
        for (start_us, model), found in sorted(counts.items())
    ]


def _models(watch: Any, metrics: Metrics) -> list[str]:
    """The models that are counted by themselves: their series have this one dimension and no other."""
    listed = pages(watch, "list_metrics", "Metrics", Namespace=metrics.namespace, MetricName=metrics.fields["requests"])
    series = [entry["Dimensions"] for entry in listed]
    return sorted({found[0]["Value"] for found in series if [part["Name"] for part in found] == [metrics.dimension]})


def _query(name: str, metrics: Metrics, model: str, metric: str) -> dict[str, Any]:
    dimensions = [{"Name": metrics.dimension, "Value": model}]
    which = {"Namespace": metrics.namespace, "MetricName": metric, "Dimensions": dimensions}
    return {"Id": name, "MetricStat": {"Metric": which, "Period": PERIOD_S, "Stat": "Sum"}}
