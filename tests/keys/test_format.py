from __future__ import annotations

import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.keys import format as key_format

PEPPER = bytes(range(32))


def test_a_new_key_is_well_formed_and_says_its_id() -> None:
    key_id = key_format.new_id()
    key = key_format.new_key(key_id).reveal()
    parsed = key_format.parse(key)
    assert parsed is not None
    assert parsed.id == key_id
    assert parsed.canonical.reveal() == key
    assert re.fullmatch(key_format.PATTERN, key.decode())


def test_keys_differ_and_carry_160_bits() -> None:
    assert len(key_format.ALPHABET) ** key_format.SECRET_CHARS >= 2**160
    assert len({key_format.new_key("000000000000").reveal() for _ in range(1_000)}) == 1_000


def test_the_prefix_of_other_providers_is_accepted_and_dropped() -> None:
    key = key_format.new_key(key_format.new_id()).reveal()
    parsed = key_format.parse(b"sk-" + key)
    assert parsed is not None
    assert parsed.canonical.reveal() == key
    assert key_format.digest(PEPPER, b"sk-" + key) == key_format.digest(PEPPER, key)


@given(st.integers(0, 50), st.sampled_from(key_format.ALPHABET))
def test_one_wrong_character_is_no_key(place: int, other: str) -> None:
    key = bytearray(key_format.new_key("7sQw3ZkP0aVd").reveal())
    if key[place] == ord(other):
        return
    key[place] = ord(other)
    assert key_format.parse(bytes(key)) is None


@given(st.binary(max_size=80))
def test_any_bytes_have_a_digest_and_are_judged(presented: bytes) -> None:
    assert len(key_format.digest(PEPPER, presented)) == 32
    key_format.parse(presented)


@given(st.text(max_size=80))
def test_any_text_is_judged(presented: str) -> None:
    assert key_format.parse(presented) is None


@pytest.mark.parametrize("wrong", [b"", b"jsk_", b"jsk_not_a_key", b"sk-upstream-secret-0123456789", b"sk-sk-jsk_1"])
def test_what_is_no_key_is_none(wrong: bytes) -> None:
    assert key_format.parse(wrong) is None


def test_surroundings_do_not_count() -> None:
    key = key_format.new_key("7sQw3ZkP0aVd").reveal()
    for wrong in (b" " + key, key + b"\n", b"sk-sk-" + key, key.replace(b"jsk_1", b"jsk_2"), key.upper()):
        assert key_format.parse(wrong) is None


def test_the_checksum_is_crc_32_in_base_62() -> None:
    body = b"jsk_10123456789Ab_0123456789abcdefghijklmnopq"
    number = 0
    for char in key_format.checksum(body).decode():
        number = number * 62 + key_format.ALPHABET.index(char)
    assert number == zlib.crc32(body)


def test_the_pepper_decides_the_digest() -> None:
    key = key_format.new_key("7sQw3ZkP0aVd").reveal()
    assert key_format.digest(PEPPER, key) != key_format.digest(bytes(32), key)


def test_a_parsed_key_does_not_show_itself() -> None:
    key = key_format.new_key("7sQw3ZkP0aVd")
    assert key.reveal().decode() not in repr(key_format.parse(key.reveal()))


@pytest.mark.parametrize("before", ["", "sk-", "/openai/v1/models/"])
def test_a_key_in_a_text_is_cut_down(before: str) -> None:
    key = key_format.new_key(key_format.new_id()).reveal().decode()
    for text in (key, key[:20], key[:6]):
        assert key_format.masked(f"{before}{text} and more") == f"{before}jsk_* and more"
    assert key_format.masked("gpt-4o-mini") == "gpt-4o-mini"
