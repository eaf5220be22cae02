"""Detections that give other rows on Spark than on DuckDB; aim: none. On Spark as it comes, with all its optimizers.

Once on the tests of all detections (tests/hunt/goldens.py), and once on their events with values changed at random for
those of other events of the same source, so that conditions meet that nobody thought of.
"""

import random
from collections import defaultdict

import pyarrow as pa
import pyarrow.parquet as pq

from jackstop.detections.catalogue import shipped
from jackstop.events.lake import SCHEMA
from jackstop.events.usage import SCHEMA as USAGE_SCHEMA
from jackstop.hunt.engines.duckdb import DuckEngine
from jackstop.hunt.engines.spark import SparkEngine
from tests import spark
from tests.hunt.goldens import build

CHANGED = 0.15
"""The share of an event's values that are another event's."""
KEPT = {"event_id", "source", "ts", "seen_ts"}
SETTINGS = {"spark.sql.shuffle.partitions": 8}


def tests(folder, _seed):
    """The goldens as they are."""
    yield from compared(build(shipped().values(), folder))


def changed(folder, seed):
    """The goldens with values changed for those of other events."""
    goldens = build(shipped().values(), folder)
    draw = random.Random(seed)
    for part, schema in ((part, SCHEMA) for part in goldens.parts):
        rewrite(part, schema, draw, "source")
    for part in goldens.usage_parts:
        rewrite(part, USAGE_SCHEMA, draw, "provider")
    yield from compared(goldens)


def rewrite(part, schema, draw, kind):
    rows = pq.read_table(part).to_pylist()
    alike = defaultdict(list)
    for row in rows:
        alike[row[kind]].append(row)
    for row in rows:
        for name in schema.names:
            if name not in KEPT and draw.random() < CHANGED:
                row[name] = draw.choice(alike[row[kind]])[name]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), part)


def compared(goldens):
    different, rows = [], 0
    with spark.serving(SETTINGS) as url:
        here, there = DuckEngine(), SparkEngine(url)
        for engine in (here, there):
            engine.open(goldens.parts, goldens.usage_parts, [])
            for table, given in goldens.rows.items():
                engine.fill(table, given)
        for detection in shipped().values():
            here.findings(detection)
            ours = sorted(map(repr, here.rows(detection.sql)))
            rows += len(ours)
            if ours != sorted(map(repr, there.rows(detection.sql))):
                different.append(detection.name)
        here.close()
        there.close()
    yield ["detections compared", len(shipped()), "", True]
    yield ["rows that both gave", rows, "", True]
    yield ["detections with other rows on Spark", ", ".join(different) or 0, "0", not different]


SECTIONS = {
    "spark_tests": ("Detections on Spark, in their tests", tests),
    "spark_changed": ("Detections on Spark, in events changed at random", changed),
}
