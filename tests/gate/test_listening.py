"""Where the gate may listen."""

from __future__ import annotations

import select
import socket
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from jackstop.errors import UserError
from jackstop.gate.listening import address_of, bind, check_listen, split_address
from jackstop.settings import GateSettings
from tests.certificates import Authority


@pytest.mark.parametrize("listen", ["127.0.0.1:8080", "127.8.0.1:80", "[::1]:8080", "localhost:0"])
def test_loopback_needs_no_tls(listen: str) -> None:
    check_listen(GateSettings(listen=listen))


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "10.0.0.1:8080", "gate.example.com:443"])
def test_beyond_loopback_needs_tls_or_a_word_that_it_is_there(listen: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="travel in clear"):
        check_listen(GateSettings(listen=listen))
    check_listen(GateSettings(listen=listen, behind_tls=True))
    files = {"tls_cert": str(tmp_path / "cert.pem"), "tls_key": str(tmp_path / "key.pem")}
    with pytest.raises(UserError, match="cannot be read"):
        check_listen(GateSettings(listen=listen, **files))
    for path in files.values():
        Path(path).touch()
    with pytest.raises(UserError, match="no certificate and its key"):
        check_listen(GateSettings(listen=listen, **files))
    certificate, key, _ = Authority(tmp_path).issue("gate.example.com")
    files = {"tls_cert": str(certificate), "tls_key": str(key)}
    check_listen(GateSettings(listen=listen, **files))
    with pytest.raises(UserError, match="not a file of certificates"):
        check_listen(GateSettings(listen=listen, **files, upstream_ca=str(key)))
    with pytest.raises(UserError, match="a certificate and its key"):
        check_listen(msgspec.structs.replace(GateSettings(listen=listen, **files), tls_key=""))


@pytest.mark.parametrize("text", ["", "8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:70000", ":80"])
def test_what_is_no_address_is_told_so(text: str) -> None:
    with pytest.raises(UserError, match="not an address") as caught:
        split_address(text)
    assert caught.value.status == 2


def test_several_sockets_share_one_port_and_both_are_connected_to() -> None:
    with closing(bind("127.0.0.1:0", shared=False)) as first:
        where = address_of(first)
        with closing(bind(where, shared=True)) as second:
            assert address_of(second) == where
            clients = [socket.create_connection(split_address(where)) for _ in range(64)]
            accepted = [accept_all(first), accept_all(second)]
            assert all(accepted)
            assert sum(map(len, accepted)) == len(clients)
            for each in [*clients, *accepted[0], *accepted[1]]:
                each.close()


def accept_all(listener: socket.socket) -> list[socket.socket]:
    accepted = []
    while select.select([listener], [], [], 0)[0]:
        accepted.append(listener.accept()[0])
    return accepted


def test_an_address_that_is_taken_or_elsewhere_is_told() -> None:
    with closing(bind("127.0.0.1:0", shared=False)) as listener, pytest.raises(UserError, match="cannot listen at"):
        bind(address_of(listener), shared=False)
    with pytest.raises(UserError, match="cannot listen at"):
        bind("192.0.2.1:80", shared=False)
