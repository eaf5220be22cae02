"""TLS on both sides, the PROXY protocol, and who is behind a proxy."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
import struct
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from jackstop.errors import UserError
from jackstop.gate import proxy_protocol
from jackstop.gate.proxy_protocol import NotProxied, parse_v1, parse_v2
from jackstop.gate.tls import server_tls, tls_context
from jackstop.keys.policy import Policy
from tests.gate.standins import chat_body, configured, post, running

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def authority(folder: Path, *names: str) -> tuple[Path, Path, Path]:
    """A throwaway authority, and a certificate of its for these names: (authority, certificate, key)."""
    now = dt.datetime.now(dt.UTC)
    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "throwaway")])

    def start(name: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(root_name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )

    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    root = (
        start(root_name, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    alternatives = x509.SubjectAlternativeName(
        [x509.IPAddress(ipaddress.ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names]
    )
    leaf = (
        start(x509.Name([]), leaf_key.public_key())
        .add_extension(alternatives, critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    paths = folder / "root.pem", folder / "leaf.pem", folder / "leaf.key"
    paths[0].write_bytes(root.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    paths[2].write_bytes(
        leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


def provider_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def test_tls_on_both_sides(tmp_path: Path) -> None:
    root, certificate, key = authority(tmp_path, "127.0.0.1", "localhost")
    tls = server_tls(configured(tls_cert=str(certificate), tls_key=str(key)).gate)
    async with running(
        tmp_path / "gate", client_tls=tls, provider_tls=provider_tls(certificate, key), upstream_ca=str(root)
    ) as rig:
        trusting = ssl.create_default_context(cafile=str(root))
        client = await rig.connect(ssl=trusting, server_hostname="localhost")
        presented = rig.key()
        for size in (10, 3_000_000):
            body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x" * size}], "max_tokens": 9}
            await client.send(post(presented, body))
            answered = await client.answer()
            assert (answered.status, answered.body) == (200, chat_body())
        assert rig.provider.connections == 1
        assert len(rig.provider.asked[1].body) > 3_000_000


@pytest.mark.parametrize("wrong", ["authority", "name"])
async def test_a_provider_whose_certificate_is_wrong_gets_nothing(tmp_path: Path, wrong: str) -> None:
    root, certificate, key = authority(tmp_path, "127.0.0.1" if wrong == "authority" else "elsewhere.test")
    trusted = str(root) if wrong == "name" else ""
    async with running(tmp_path / "gate", provider_tls=provider_tls(certificate, key), upstream_ca=trusted) as rig:
        answered = await rig.chat(rig.key())
        assert (answered.status, answered.reason) == (502, "upstream")
        assert rig.provider.asked == []
        (event,) = rig.events()
        assert (event.cost_nusd, event.estimated) == (0, False)


async def test_a_client_that_refused_before_its_body_was_read_gets_its_answer_over_tls(tmp_path: Path) -> None:
    root, certificate, key = authority(tmp_path, "localhost")
    tls = server_tls(configured(tls_cert=str(certificate), tls_key=str(key)).gate)
    async with running(tmp_path / "gate", client_tls=tls) as rig:
        client = await rig.connect(ssl=ssl.create_default_context(cafile=str(root)), server_hostname="localhost")
        await client.send(post("unknown", b"x" * 2_000_000))
        assert (await client.answer()).status == 401


def test_files_that_are_no_certificates_are_told_to_a_person(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(UserError):
        tls_context(configured(upstream_ca=str(tmp_path / "x")).gate)
    with pytest.raises(UserError):
        server_tls(configured(tls_cert=str(tmp_path / "x"), tls_key=str(tmp_path / "x")).gate)
    assert server_tls(configured().gate) is None


def v2(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(rest)) + rest


def v2_ipv4(address: str, options: bytes = b"") -> bytes:
    return v2(
        1, 0x11, socket.inet_aton(address) + socket.inet_aton("10.0.0.1") + struct.pack("!HH", 4711, 80) + options
    )


def v2_ipv6(address: str) -> bytes:
    inner = socket.inet_pton(socket.AF_INET6, address)
    return v2(1, 0x21, inner + inner + struct.pack("!HH", 4711, 80))


PROXIED = {
    "v1 over IPv4": (b"PROXY TCP4 8.8.8.8 10.0.0.1 4711 80\r\n", "8.8.8.8"),
    "v1 over IPv6": (b"PROXY TCP6 2a00::1 ::1 4711 80\r\n", "2a00::1"),
    "v1, the shortest": (b"PROXY TCP6 :: :: 1 1\r\n", "::"),
    "v1 of a check": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "v1 of a check with addresses": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "127.0.0.1"),
    "v2 over IPv4": (v2_ipv4("8.8.8.8"), "8.8.8.8"),
    "v2 with options": (v2_ipv4("8.8.8.8", b"\x03\x00\x04abcd"), "8.8.8.8"),
    "v2 over IPv6": (v2_ipv6("2a00::1"), "2a00::1"),
    "v2 of mapped IPv4": (v2_ipv6("::ffff:8.8.8.8"), "8.8.8.8"),
    "v2 of a check": (v2(0, 0, b""), "127.0.0.1"),
}


@pytest.mark.parametrize(("header", "ip"), PROXIED.values(), ids=PROXIED.keys())
async def test_the_proxys_word_is_the_source(tmp_path: Path, header: bytes, ip: str) -> None:
    async with running(tmp_path, proxy_protocol=True) as rig:
        client = await rig.connect()
        for byte in header:
            await client.send(bytes([byte]))
            await asyncio.sleep(0)
        await client.send(post(rig.key()))
        assert (await client.answer()).status == 200
        (event,) = rig.events()
        assert (event.src_ip, event.src_trust) == (ip, "peer" if ip == "127.0.0.1" else "proxy")


HOSTILE = {
    "no header": b"GET / HTTP/1.1\r\nHost: g\r\n\r\n" + b" " * 64,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "v1 without an end": b"PROXY TCP4 " + b"1" * 200,
    "v1 with a bad address": b"PROXY TCP4 300.8.8.8 10.0.0.1 4711 80\r\n",
    "v1 with a bad port": b"PROXY TCP4 8.8.8.8 10.0.0.1 70000 80\r\n",
    "v1 with too few fields": b"PROXY TCP4 8.8.8.8 10.0.0.1 4711\r\n" + b" " * 10,
    "v1 with two spaces": b"PROXY TCP4  8.8.8.8 10.0.0.1 4711 80\r\n",
    "v1 over something else": b"PROXY UDP4 8.8.8.8 10.0.0.1 4711 80\r\n",
    "v2 of another version": SIGNATURE + b"\x31\x11\x00\x0c" + b"\x00" * 12,
    "v2 with an unknown command": SIGNATURE + b"\x22\x11\x00\x0c" + b"\x00" * 12,
    "v2 over a socket file": v2(1, 0x31, b"\x00" * 216),
    "v2 too short": v2(1, 0x11, b"\x00" * 4),
    "v2 too long": SIGNATURE + b"\x21\x11\xff\xff",
}


@pytest.mark.parametrize("header", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_connection_without_a_right_header_is_closed(tmp_path: Path, header: bytes) -> None:
    async with running(tmp_path, proxy_protocol=True) as rig:
        client = await rig.connect()
        await client.send(header)
        assert await client.ended()
        client = await rig.connect()
        await client.send(b"PROXY UNKNOWN\r\n" + post(rig.key()))
        assert (await client.answer()).status == 200


async def test_a_header_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    async with running(tmp_path, proxy_protocol=True, header_timeout_s=0) as rig:
        client = await rig.connect()
        await client.send(b"PROXY ")
        assert await client.ended()


async def test_the_proxy_header_comes_before_tls(tmp_path: Path) -> None:
    root, certificate, key = authority(tmp_path, "localhost")
    tls = server_tls(configured(tls_cert=str(certificate), tls_key=str(key)).gate)
    async with running(tmp_path / "gate", client_tls=tls, proxy_protocol=True) as rig:
        loop = asyncio.get_running_loop()
        plain = socket.socket()
        plain.setblocking(False)
        await loop.sock_connect(plain, ("127.0.0.1", rig.port))
        await loop.sock_sendall(plain, v2_ipv4("8.8.8.8"))
        trusting = ssl.create_default_context(cafile=str(root))
        reader, writer = await asyncio.open_connection(sock=plain, ssl=trusting, server_hostname="localhost")
        writer.write(post(rig.key()))
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        writer.transport.abort()
        await rig.until(rig.events)
        assert rig.events()[0].src_ip == "8.8.8.8"


async def test_networks_are_judged_by_the_hop_that_is_not_trusted(tmp_path: Path) -> None:
    async with running(tmp_path, trusted_proxies=("127.0.0.0/8", "10.0.0.0/8")) as rig:
        key = rig.key(policy=Policy(networks=("203.0.113.0/24",)))
        for forwarded, status in (
            ("X-Forwarded-For: 203.0.113.5", 200),
            ("X-Forwarded-For: 198.51.100.1, 203.0.113.5, 10.0.0.7", 200),
            ("X-Forwarded-For: 203.0.113.5, 198.51.100.1", 403),
            ("X-Forwarded-For: 203.0.113.5, nonsense", 403),
            ("X-Real-IP: 203.0.113.5", 403),
        ):
            answered = await rig.exchange(post(key, headers=(forwarded,)))
            assert answered.status == status, forwarded
        assert rig.events()[0].src_ip == "203.0.113.5"


def test_headers_are_parsed_whole() -> None:
    with pytest.raises(NotProxied):
        parse_v1(b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1")
    with pytest.raises(NotProxied):
        parse_v2(v2_ipv4("1.1.1.1")[:16], b"\x00" * 11)
    assert (
        len("PROXY UNKNOWN " + " ".join(["f" * 4 + ":ffff" * 7] * 2) + " 65535 65535\r\n")
        == proxy_protocol.MAX_V1_BYTES
    )
