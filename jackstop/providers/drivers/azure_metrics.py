"""Azure Monitor's minutes of what the deployments of one account did. It does not tell the two keys apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec

from jackstop.clock import US_PER_S, to_datetime
from jackstop.providers.drivers.answers import micros, shaped
from jackstop.providers.drivers.azure_arm import on_account
from jackstop.providers.drivers.driver import Administration, Bucket

Buckets = list[Bucket]

WIDTH_US = 60 * US_PER_S
POLL_S = 60
DELAY_S = 300
"""An allowance: Microsoft gives no number for these metrics."""

# The newest that azure-mgmt-monitor 7.0.0 sends (`operations/_metrics_operations.py`, read on 2026-11-23).
_API_VERSION = "2024-02-01"
_SERIES = 1_000
"""Series in one answer: without `top` there are ten (the same file)."""
_DEPLOYMENT = "ModelDeploymentName"
_REQUESTS, _INPUT, _OUTPUT = "AzureOpenAIRequests", "ProcessedPromptTokens", "GeneratedTokens"
"""Names in the REST API (learn.microsoft.com/azure/azure-monitor/reference/supported-metrics/
microsoft-cognitiveservices-accounts-metrics)."""


class _Name(msgspec.Struct):
    value: str


class _Dimension(msgspec.Struct):
    name: _Name
    value: str


class _Point(msgspec.Struct):
    at: datetime = msgspec.field(name="timeStamp")
    total: float | None = None


class _Series(msgspec.Struct):
    data: list[_Point] = []
    metadatavalues: list[_Dimension] = []

    def deployment(self) -> str:
        named = (each.value for each in self.metadatavalues if each.name.value.lower() == _DEPLOYMENT.lower())
        return next(named, "")


class _Metric(msgspec.Struct):
    name: _Name
    timeseries: list[_Series] = []


class _Metrics(msgspec.Struct):
    value: list[_Metric]


def read(admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> Buckets:
    """The minutes in which a deployment did something; `model` is the deployment. Raises CallFailed."""
    since_us -= since_us % WIDTH_US
    asked = {
        "api-version": _API_VERSION,
        "timespan": f"{_moment(since_us)}/{_moment(until_us)}",
        "interval": "PT1M",
        "metricnames": f"{_REQUESTS},{_INPUT},{_OUTPUT}",
        "aggregation": "Total",
        "$filter": f"{_DEPLOYMENT} eq '*'",
        "top": _SERIES,
    }
    answer = on_account("GET", admin, place, "providers/Microsoft.Insights/metrics", query=asked)
    counts: dict[tuple[int, str], dict[str, int]] = {}
    for start_us, deployment, metric, total in _points(shaped(answer, _Metrics, "the metrics")):
        counts.setdefault((start_us, deployment), {})[metric] = total
    return [
        Bucket(
            start_us=start_us,
            width_us=WIDTH_US,
            model=deployment,
            requests=found.get(_REQUESTS, 0),
            input_tokens=found.get(_INPUT, 0),
            output_tokens=found.get(_OUTPUT, 0),
        )
        for (start_us, deployment), found in sorted(counts.items())
    ]


def _points(metrics: _Metrics) -> Iterator[tuple[int, str, str, int]]:
    """Minute, deployment, metric and count, without the many zeros that Azure fills up with."""
    for metric in metrics.value:
        for series in metric.timeseries:
            for point in series.data:
                start_us = micros(point.at)
                if point.total and start_us is not None:
                    yield start_us, series.deployment(), metric.name.value, int(point.total)


def _moment(us: int) -> str:
    return to_datetime(us).isoformat(timespec="seconds").replace("+00:00", "Z")
