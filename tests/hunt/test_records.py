"""Raw records out of bytes: every whole one is found, with its line and offset, whatever is broken around it."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.hunt.intake.documents import Document, of_line
from jackstop.hunt.intake.records import MAX_RECORD, Broken, Lines, Record, each_line, in_lines
from jackstop.hunt.intake.rows import Rows
from tests.hunt.logs import as_csv, concatenated, document, lines, pretty, trail

LISTS = frozenset({"Records", "value"})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def known(record: Any) -> bool:
    return isinstance(record, dict) and "eventID" in record


class Slowly:
    """Bytes that come a few at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self._file = io.BytesIO(data)
        self._step = step

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, self._step))


def split(data: bytes, step: int = 1 << 20) -> list[Record | Broken]:
    found = list(Document(Slowly(data, step), LISTS, known))
    for each in found:
        if isinstance(each, Record):
            # Its place is where it stands.
            assert data[each.offset : each.offset + len(each.raw)] == each.raw
            assert each.line == data.count(b"\n", 0, each.offset) + 1
    return found


def values(found: list[Record | Broken]) -> list[Any]:
    return [json.loads(each.raw.decode(errors="replace")) for each in found if isinstance(each, Record)]


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize("written", [document, lines, pretty, concatenated])
def test_every_way_to_write_records_gives_them_back(written: Any, step: int) -> None:
    records = [trail(number) for number in range(5)]
    assert values(split(written(records), step)) == records


@given(st.lists(VALUES, max_size=6), st.sampled_from([None, 0, 2]), st.integers(1, 50))
def test_any_list_is_split_into_its_values(listed: list[Any], indent: int | None, step: int) -> None:
    data = json.dumps(listed, indent=indent).encode()
    assert values(split(data, step)) == listed


@given(st.lists(VALUES, max_size=6), st.integers(1, 50))
def test_json_lines_give_each_line_once(listed: list[Any], step: int) -> None:
    data = lines(listed)
    found = [each for some in in_lines(Slowly(data, step)) for each in each_line(some)]
    assert values(found) == listed
    assert [each.line for each in found] == list(range(1, len(listed) + 1))
    assert [data[each.offset :].startswith(each.raw) for each in found if isinstance(each, Record)] == [True] * len(
        listed
    )


def test_members_before_and_behind_a_list_are_passed_by() -> None:
    first, second, third = (trail(number) for number in range(3))
    data = {"nextLink": None, "a": {"value": [1]}, "value": [first, second], "count": 2, "Records": [third]}
    assert values(split(json.dumps(data).encode())) == [first, second, third]


def test_a_record_with_a_list_of_its_own_is_one_record() -> None:
    record = trail(1, value=[{"a": 1}, {"b": 2}])
    assert values(split(lines([record, trail(2)]))) == [record, trail(2)]


def test_documents_one_after_the_other() -> None:
    first, second, third = (trail(number) for number in range(3))
    assert values(split(document([first]) + document([second]) + b"\n" + document([third]))) == [first, second, third]


def test_a_document_that_is_cut_off_keeps_its_whole_records() -> None:
    records = [trail(number) for number in range(4)]
    data = document(records)
    end = data.rindex(b'{"eventVersion"')
    for size in range(end + 1, len(data) - 2):
        found = split(data[:size])
        assert values(found) == records[:3]
        assert [each.offset for each in found if isinstance(each, Broken)] == [end]
    *whole, last = split(data[: data.rindex(b"}]}") + 1])
    assert values(whole) == records
    assert isinstance(last, Broken)


@given(st.data())
def test_damage_costs_only_the_records_that_it_touches(data: st.DataObject) -> None:
    records = [trail(number, note=data.draw(st.text(max_size=5))) for number in range(6)]
    written = data.draw(st.sampled_from([document, lines, pretty, concatenated]))
    whole = written(records)
    places = [whole.index(json.dumps(f"event-{number}").encode()) for number in range(6)]
    hit = data.draw(st.integers(1, 4))
    # Somewhere within the record: behind the id of the one before, and before the one behind begins.
    start = data.draw(st.integers(places[hit] - 200, places[hit]))
    junk = data.draw(st.binary(min_size=1, max_size=20))
    length = data.draw(st.integers(0, 30))
    damaged = whole[:start] + junk + whole[start + length :]
    found = values(split(damaged, data.draw(st.sampled_from([13, 1 << 20]))))
    assert [each for number, each in enumerate(records) if number != hit and each not in found] == []


def test_what_is_broken_is_told_by_place_hash_and_reason() -> None:
    first, second = lines([trail(1)]), lines([trail(2)])
    broken = b'{"eventVersion": oops}'
    (found,) = [each for each in split(first + broken + b"\n" + second) if isinstance(each, Broken)]
    assert (found.line, found.offset) == (2, len(first))
    assert found.sha256 == hashlib.sha256(broken + b"\n").hexdigest()
    assert found.why == "invalid character"


@pytest.mark.parametrize("unit", [b"a", b'{"', b'{"a":[', b'{"a":"b"},'])
def test_megabytes_of_anything_on_one_line_are_passed_by(unit: bytes) -> None:
    size = 24 << 20
    data = unit * (size // len(unit))
    before, behind = lines([trail(1)]), lines([trail(2)])
    found = list(Document(io.BytesIO(before + b'{"x": "' + data + b"\n" + behind), LISTS, known))
    assert values(found[:1]) == [trail(1)]
    broken = [each for each in found if isinstance(each, Broken)]
    assert broken
    assert broken[0].offset == len(before)


def test_a_line_that_is_too_long_is_told_and_the_next_is_read() -> None:
    long = b'{"a": "' + b"x" * (MAX_RECORD + (8 << 20)) + b'"}'
    data = lines([1]) + long + b"\n" + lines([2])
    found = [each for some in in_lines(io.BytesIO(data)) for each in each_line(some)]
    assert [(each.line, each.offset) for each in found] == [(1, 0), (2, 2), (3, len(long) + 3)]
    assert [each.sha256 for each in found if isinstance(each, Broken)] == [hashlib.sha256(long).hexdigest()]


def test_a_line_with_several_records_gives_each() -> None:
    record = Record(lines([trail(1)]).strip() + lines([trail(2)]).strip(), 7, 100)
    found = list(of_line(record, LISTS, known))
    assert values(found) == [trail(1), trail(2)]
    assert [each.line for each in found] == [7, 7]


def test_blank_lines_and_ends_of_other_systems_are_no_records() -> None:
    found = list(each_line(Lines(b'\r\n  \n{"a": 1}\r\n\n 2 \n', 1, 0)))
    assert [(each.raw, each.line, each.offset) for each in found if isinstance(each, Record)] == [
        (b'{"a": 1}', 3, 5),
        (b"2", 5, 17),
    ]


# -- rows -------------------------------------------------------------------------------------------------------


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=12)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8), st.sampled_from(",;\t"), st.integers(1, 40))
def test_rows_are_what_was_written(rows: list[tuple[str, str]], delimiter: str, step: int) -> None:
    listed = [{"one": f"1{one}", "two": two} for one, two in rows]
    found = list(Rows(Slowly(as_csv(listed, delimiter), step), delimiter))
    assert [each.cells for each in found if isinstance(each, Record)] == listed


def test_a_quote_that_is_not_closed_spoils_its_own_line() -> None:
    data = b'a,b\n1,2\n"3,4\n5,6\n"7\nx","8"\n9,10\n'
    found = list(Rows(io.BytesIO(data), ","))
    assert [each.cells for each in found if isinstance(each, Record)] == [
        {"a": "1", "b": "2"},
        {"a": "5", "b": "6"},
        {"a": "7\nx", "b": "8"},
        {"a": "9", "b": "10"},
    ]
    (broken,) = [each for each in found if isinstance(each, Broken)]
    assert (broken.line, broken.offset) == (3, 8)


def test_rows_of_another_length_are_broken() -> None:
    found = list(Rows(io.BytesIO(b"a,b\r\n1\r\n1,2,3\r\n1,2\r\n"), ","))
    assert [each.why for each in found if isinstance(each, Broken)] == [
        "it has 1 cells, and the header 2",
        "it has 3 cells, and the header 2",
    ]
    assert [each.line for each in found] == [2, 3, 4]


@given(st.binary(max_size=400))
def test_any_bytes_are_rows_or_broken(data: bytes) -> None:
    found = list(Rows(io.BytesIO(b"a,b\n" + data), ","))
    assert all(each.line >= 2 for each in found)
