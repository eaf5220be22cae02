"""Reading Parquet files and Arrow tables with DuckDB: connections, and FROM clauses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow as pa

WRONG_OPTIMIZERS = "statistics_propagation"
"""DuckDB 2.0.0 takes `IS NULL` beside a condition on sums for false after a LEFT JOIN that finds nothing."""

# DuckDB takes names for patterns: `a[1].parquet` would read `a1.parquet`, and `*.parquet` its neighbours.
_PATTERN = re.compile(r"([*?\[])")
_KINDS = {pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.bool_(): "BOOLEAN"}


def connect(memory_mb: int, spill: Path | None = None) -> duckdb.DuckDBPyConnection:
    """A connection on one core and bounded memory; what does not fit goes into the folder `spill`, or fails."""
    return duckdb.connect(
        config={
            "threads": 1,
            "memory_limit": f"{memory_mb}MB",
            "temp_directory": str(spill or ""),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "disabled_optimizers": WRONG_OPTIMIZERS,
        }
    )


def from_files(files: Iterable[Path], schema: pa.Schema) -> str:
    """What stands after FROM to read some files of a schema; of no files, no rows."""
    names = ", ".join("'" + _PATTERN.sub(r"[\1]", str(file)).replace("'", "''") + "'" for file in files)
    if names:
        return f"read_parquet([{names}], union_by_name = true)"
    columns = ", ".join(f"CAST(NULL AS {_KINDS[field.type]}) AS {field.name}" for field in schema)
    return f"(SELECT {columns} WHERE false)"
