"""The load that others recorded: rates of ServeGen's clients, token sizes of Azure and Mooncake. Read in place."""

import csv
import gzip
import json
import os
from functools import cache
from pathlib import Path

import numpy as np

DAY_WINDOWS = 144
"""Of ten minutes."""
NOT_THERE = "the recorded load is not there: JACKSTOP_BENCH_DATA says where it is, or ../shared/data has it"
_FOLDER = "servegen"
_LARGEST_INPUT = 60_000


def folder():
    """Where the traces are: JACKSTOP_BENCH_DATA, or `shared/data` beside the project."""
    return Path(os.environ.get("JACKSTOP_BENCH_DATA") or Path(__file__).parents[3] / "shared" / "data")


def there():
    return (folder() / _FOLDER).is_dir()


@cache
def rates():
    """Requests in each window of ten minutes, by number of the trace, in the order of the numbers."""
    found = {}
    for path in sorted((folder() / _FOLDER).glob("chunk-*-trace.csv.gz"), key=_number):
        with gzip.open(path, "rt") as lines:
            found[_number(path)] = np.array([float(row[1] or 0) * 600 for row in csv.reader(lines)])
    return found


def _number(path):
    return int(path.name.split("-")[1])


def halves():
    """The traces that choose thresholds, and those that report."""
    numbers = list(rates())
    return numbers[::2], numbers[1::2]


@cache
def sizes():
    """Pairs of input and output tokens, by what was asked: `code`, `chat`, `long`."""
    found = {}
    for name, file in (("code", "AzureLLMInferenceTrace_code.csv"), ("chat", "AzureLLMInferenceTrace_conv.csv")):
        with (folder() / "azure_llm_2023" / file).open() as lines:
            rows = list(csv.reader(lines))[1:]
        found[name] = np.array([[int(row[1]), int(row[2])] for row in rows])
    lines = (folder() / "mooncake" / "conversation_trace.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    found["long"] = np.array([[min(row["input_length"], _LARGEST_INPUT), row["output_length"]] for row in rows])
    return found
