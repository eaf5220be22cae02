from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from jackstop.errors import UserError
from jackstop.secret import Secret
from jackstop.vault.credentials import place
from jackstop.vault.envelope import Vault, kek_id

KEK, OTHER = Secret(bytes(range(32))), Secret(bytes(range(32, 64)))
VECTORS = json.loads((Path(__file__).parent / "envelope_vectors.json").read_text(encoding="utf-8"))


@given(st.binary(max_size=300), st.text(max_size=20), st.text(max_size=20))
def test_what_is_sealed_opens_in_its_place(content: bytes, purpose: str, name: str) -> None:
    vault = Vault([KEK])
    assert vault.unseal(purpose, name, vault.seal(purpose, name, Secret(content))).reveal() == content


@pytest.mark.parametrize(
    ("purpose", "name"), [("credential", "b"), ("pepper", "a"), ("credentiala", ""), ("", "credentiala")]
)
def test_a_blob_does_not_open_elsewhere(purpose: str, name: str) -> None:
    vault = Vault([KEK])
    blob = vault.seal("credential", "a", Secret(b"x"))
    with pytest.raises(UserError, match="changed, or moved"):
        vault.unseal(purpose, name, blob)


def test_no_changed_bit_opens() -> None:
    vault = Vault([KEK])
    blob = vault.seal("credential", "a", Secret(b"distinctive"))
    for place_of_bit in range(len(blob) * 8):
        changed = bytearray(blob)
        changed[place_of_bit // 8] ^= 1 << (place_of_bit % 8)
        with pytest.raises(UserError) as caught:
            vault.unseal("credential", "a", bytes(changed))
        assert "distinctive" not in caught.value.problem


@given(st.binary(max_size=120))
def test_what_is_no_blob_is_refused(junk: bytes) -> None:
    with pytest.raises(UserError):
        Vault([KEK]).unseal("credential", "a", junk)


def test_the_content_and_its_data_key_are_not_in_the_blob() -> None:
    drawn: list[bytes] = []
    numbers = count(1)

    def draw(size: int) -> bytes:
        drawn.append(bytes([next(numbers)]) * size)
        return drawn[-1]

    blob = Vault([KEK], draw).seal("credential", "a", Secret(b"distinctive"))
    assert b"distinctive" not in blob
    assert drawn[0] not in blob
    assert KEK.reveal() not in blob


def test_two_blobs_of_the_same_secret_differ() -> None:
    vault = Vault([KEK])
    assert vault.seal("credential", "a", Secret(b"x")) != vault.seal("credential", "a", Secret(b"x"))


def test_another_key_is_named_when_it_is_missing() -> None:
    blob = Vault([KEK]).seal("credential", "a", Secret(b"x"))
    with pytest.raises(UserError, match=kek_id(KEK).hex()):
        Vault([OTHER]).unseal("credential", "a", blob)


def test_rewrapping_leaves_the_content_alone_and_happens_once() -> None:
    blob = Vault([KEK]).seal("credential", "a", Secret(b"x"))
    both = Vault([KEK, OTHER])
    fresh = both.rewrap("credential", "a", blob)
    assert fresh is not None
    assert fresh[69:] == blob[69:]
    assert both.rewrap("credential", "a", fresh) is None
    assert Vault([OTHER]).unseal("credential", "a", fresh).reveal() == b"x"
    assert both.unseal("credential", "a", blob).reveal() == b"x"


def test_a_rewrap_in_the_wrong_place_is_refused() -> None:
    blob = Vault([KEK]).seal("credential", "a", Secret(b"x"))
    with pytest.raises(UserError):
        Vault([KEK, OTHER]).rewrap("credential", "b", blob)


@pytest.mark.parametrize("keks", [[], [Secret(b"short")], [KEK, Secret(b"")]])
def test_a_key_of_another_size_is_a_mistake(keks: list[Secret]) -> None:
    with pytest.raises(ValueError):
        Vault(keks)


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["title"])
def test_vectors(vector: dict[str, str]) -> None:
    blob = bytes.fromhex(vector["blob"])
    vault = Vault([Secret(bytes.fromhex(vector["kek"]))])
    if vector.get("refused"):
        with pytest.raises(UserError):
            vault.unseal(vector["purpose"], vector["name"], blob)
        return
    assert vault.unseal(vector["purpose"], vector["name"], blob).reveal() == bytes.fromhex(vector["content"])
    draws = iter([bytes.fromhex(vector[name]) for name in ("data_key", "content_nonce", "kek_nonce")])
    again = Vault([Secret(bytes.fromhex(vector["kek"]))], lambda _size: next(draws))
    assert again.seal(vector["purpose"], vector["name"], Secret(bytes.fromhex(vector["content"]))) == blob


def test_the_layout_is_what_the_module_says() -> None:
    """Opened here with the primitives alone."""
    blob = Vault([KEK]).seal("credential", "name", Secret(b"content"))
    where = b"\x01" + (10).to_bytes(4, "big") + b"credential" + (4).to_bytes(4, "big") + b"name"
    version, kek, nonce, wrapped, content_nonce, content = (
        blob[:1],
        blob[1:9],
        blob[9:21],
        blob[21:69],
        blob[69:81],
        blob[81:],
    )
    data_key = AESGCM(KEK.reveal()).decrypt(nonce, wrapped, kek + where)
    assert version == b"\x01"
    assert AESGCM(data_key).decrypt(content_nonce, content, where) == b"content"


def test_the_place_of_a_credential_holds_its_address() -> None:
    assert place("main", "openai", "https://api.openai.com") == '["main","openai","https://api.openai.com"]'
    assert place("a", "b", "c") != place("a", 'b","c', "")
