"""A real receiver of webhooks, plain or with a certificate of an authority made for the test."""

from __future__ import annotations

import datetime
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = tuple[int, Mapping[str, str]]
TAKEN: Answer = (200, {})


@dataclass(frozen=True)
class Got:
    path: str
    headers: Mapping[str, str]  # Names in lower case.
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def position(self) -> int:
        return int(self.event["position"])


class Receiver:
    """Answers 200, or what `answer` says of what it got; keeps everything, and apart what it took."""

    def __init__(self) -> None:
        self.answer: Callable[[Got], Answer] = lambda _: TAKEN
        self.got: list[Got] = []
        self.taken: list[Got] = []
        self.url = ""
        self.version = "HTTP/1.1"

    @property
    def positions(self) -> list[int]:
        return [each.position for each in self.taken]


@contextmanager
def receiving(certificate: Path | None = None) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            if len(body := self.rfile.read(length)) < length:  # Who sent it was killed in the midst of it.
                self.close_connection = True
                return
            got = Got(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            receiver.got.append(got)
            status, headers = receiver.answer(got)
            if 200 <= status < 300:
                receiver.taken.append(got)
            self.protocol_version = receiver.version
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Who hangs up in the midst of a handshake is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    scheme, host = ("https", "localhost") if certificate else ("http", "127.0.0.1")
    receiver.url = f"{scheme}://{host}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def authority(folder: Path, *names: str) -> tuple[Path, Path]:
    """The certificate of an authority, and one it gave to these names, with its key."""
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)

    def made(
        name: str, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, ca: bool
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
        )
        if not ca:
            said = [x509.IPAddress(ip_address(each)) if each[0].isdigit() else x509.DNSName(each) for each in names]
            builder = builder.add_extension(x509.SubjectAlternativeName(said), critical=False)
        return builder.sign(signer, hashes.SHA256())

    def pem(certificate: x509.Certificate) -> bytes:
        return certificate.public_bytes(serialization.Encoding.PEM)

    top, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca, given = folder / "ca.pem", folder / "server.pem"
    ca.write_bytes(pem(made("authority", top, top, ca=True)))
    key = own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    given.write_bytes(pem(made("server", own, top, ca=False)) + key)
    return ca, given
