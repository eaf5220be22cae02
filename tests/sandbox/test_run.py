"""`run`: the printed address, TLS, and an address that cannot be had."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import socket
import ssl
import subprocess
import sys
import urllib.request

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from jackstop.errors import UserError
from jackstop.sandbox.server import run


@pytest.fixture
def certificate(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "practice")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(private)
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def test_tls(certificate):
    cert, key = certificate
    script = f"from jackstop.sandbox.server import run; run(0, tls_cert={str(cert)!r}, tls_key={str(key)!r})"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        try:
            found = re.fullmatch(r"sandbox providers on (https://127\.0\.0\.1:\d+)\n", process.stdout.readline())
            context = ssl.create_default_context(cafile=str(cert))
            with urllib.request.urlopen(f"{found[1]}/_sandbox/bill", timeout=10, context=context) as answer:
                assert answer.read() == b"[]"
        finally:
            process.terminate()


def test_an_interrupt_ends_it_quietly():
    script = "from jackstop.sandbox.server import run; run(0)"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.send_signal(2)
        _, complaints = process.communicate(timeout=20)
    assert complaints == ""


def test_a_port_in_use_is_the_users_to_mend():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match="cannot listen") as caught:
        run(taken.getsockname()[1])
    assert "--port" in caught.value.remedy


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_that_is_none(port):
    with pytest.raises(UserError, match="cannot listen"):
        run(port)


def test_a_certificate_that_is_none(tmp_path):
    with pytest.raises(UserError, match="cannot be used"):
        run(0, tls_cert=str(tmp_path / "none.pem"), tls_key=str(tmp_path / "none.pem"))
