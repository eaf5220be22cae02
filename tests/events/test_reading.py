"""Names of files are names to DuckDB, whatever is in them."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jackstop.events.reading import from_files

SCHEMA = pa.schema([("name", pa.string())])
NAMES = ("a[1].parquet", "a1.parquet", "*.parquet", "b?.parquet", "bc.parquet", "[a-z].parquet", "e{f,g}.parquet")


@pytest.mark.parametrize("folder", ["plain", "x[1]", "y*", "it's"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_with_letters_of_patterns_is_that_file_alone(folder: str, name: str, tmp_path: Path) -> None:
    for each in (folder, "x1", "yz"):
        (tmp_path / each).mkdir()
        for other in NAMES:
            pq.write_table(pa.table({"name": [f"{each}/{other}"]}, SCHEMA), tmp_path / each / other)
    file = tmp_path / folder / name
    with duckdb.connect() as connection:
        rows = connection.execute(f"SELECT name FROM {from_files([file], SCHEMA)}").fetchall()
        listed = from_files([file], SCHEMA).removesuffix(")") + ", filename = true)"
        named = connection.execute(f"SELECT filename FROM {listed}").fetchall()
    assert rows == [(f"{folder}/{name}",)]
    assert named == [(str(file),)]
