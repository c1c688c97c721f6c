"""DIMSE by TLS (PS3.15 B.9): callers show a certificate that belongs to their AE title; made by openssl."""

import hashlib
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pynetdicom import AE

from server.dimse.server import DimseServer
from server.errors import BadRequest
from server.imaging.ingest import Ingest
from server.settings import Peer, Settings
from server.store import studies
from server.store.database import Database
from tests.dimse.wire import VERIFICATION, Wire, request


@dataclass(frozen=True)
class Certificates:
    """An authority, our certificate, those of two callers, and one that nobody signed."""

    folder: Path

    def pair(self, name: str) -> tuple[str, str]:
        return str(self.folder / f"{name}.pem"), str(self.folder / f"{name}.key")

    @property
    def authority(self) -> str:
        return str(self.folder / "ca.pem")

    def fingerprint(self, name: str) -> str:
        der = ssl.PEM_cert_to_DER_cert((self.folder / f"{name}.pem").read_text())
        text = hashlib.sha256(der).hexdigest().upper()
        return ":".join(text[at : at + 2] for at in range(0, 64, 2))


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here")
    folder = tmp_path_factory.mktemp("certificates")
    new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    for name in ("ca", "stranger"):
        _openssl(*new, "-subj", f"/CN={name}", "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem")
    for name in ("server", "one", "two"):
        signed = ["-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key", "-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"]
        _openssl(*new, "-subj", f"/CN={name}", *signed, *files)
    return Certificates(folder)


@pytest.fixture
def server(settings: Settings, ingest: Ingest, certificates: Certificates) -> Iterator[DimseServer]:
    certificate, key = certificates.pair("server")
    secured = replace(
        settings,
        host="0.0.0.0",
        dimse_port=0,
        dimse_tls_port=0,
        dimse_tls_certificate=certificate,
        dimse_tls_key=key,
        dimse_tls_ca=certificates.authority,
        peers=(
            Peer(name="one", ae_title="ONE", host="127.0.0.1", certificate=certificates.fingerprint("one")),
            Peer(name="any", ae_title="ANY", host="127.0.0.1"),
        ),
    )
    started = DimseServer(secured, ingest)
    started.start()
    yield started
    started.stop()


def context(certificates: Certificates, name: str) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=certificates.authority)
    made.check_hostname = False
    if name:
        made.load_cert_chain(*certificates.pair(name))
    return made


def echo(server: DimseServer, certificates: Certificates, name: str, title: str) -> bool:
    """Whether a caller with this certificate and title gets its C-ECHO answered."""
    entity = AE(ae_title=title)
    entity.add_requested_context(VERIFICATION)
    association = entity.associate(
        "127.0.0.1", server.tls_port, ae_title="HUTONG", tls_args=(context(certificates, name), "localhost")
    )
    if not association.is_established:
        return False
    status = association.send_c_echo().Status
    association.release()
    return bool(status == 0)


def test_a_title_belongs_to_its_certificate(server: DimseServer, certificates: Certificates) -> None:
    assert echo(server, certificates, "one", "ONE")
    assert not echo(server, certificates, "two", "ONE")
    assert echo(server, certificates, "two", "ANY")
    assert not echo(server, certificates, "one", "NOBODY")


def test_a_title_with_a_certificate_may_not_call_in_the_clear(server: DimseServer) -> None:
    for title, accepted in (("ONE", False), ("ANY", True)):
        entity = AE(ae_title=title)
        entity.add_requested_context(VERIFICATION)
        association = entity.associate("127.0.0.1", server.port, ae_title="HUTONG")
        assert association.is_established is accepted
        if accepted:
            association.release()


@pytest.mark.parametrize("name", ["", "stranger"])
def test_no_certificate_or_a_foreign_one_ends_the_handshake(
    server: DimseServer, certificates: Certificates, name: str
) -> None:
    with (
        socket.create_connection(("127.0.0.1", server.tls_port), timeout=10) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
        context(certificates, name).wrap_socket(plain) as secured,
    ):
        # In TLS 1.3 the refusal comes after the client's side of the handshake.
        secured.recv(1)


def test_tls_1_1_is_not_spoken(server: DimseServer, certificates: Certificates) -> None:
    old = context(certificates, "one")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", server.tls_port), timeout=10) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        old.wrap_socket(plain)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_association_that_was_parked_goes_on(
    server: DimseServer, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    wanted = context(certificates, "one")
    wanted.minimum_version = wanted.maximum_version = version
    plain = socket.create_connection(("127.0.0.1", server.tls_port), timeout=10)
    with Wire(0, wanted.wrap_socket(plain)) as caller:
        caller.associate(request(calling="ONE"))
        for _turn in range(3):
            assert caller.echo() == 0
            time.sleep(0.25)
        caller.release()


def test_who_stops_in_the_handshake_delays_nobody(server: DimseServer, certificates: Certificates) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.tls_port)) for _ in range(60)]
    for one in silent[::2]:
        one.sendall(b"\x16\x03\x01\x02\x00\x01")
    for one in silent[1::4]:
        one.sendall(b"rubbish that is no TLS record at all")
    start = time.monotonic()
    assert echo(server, certificates, "one", "ONE")
    assert time.monotonic() - start < 2
    for one in silent:
        one.close()


def test_a_setting_that_names_no_certificate_is_refused(settings: Settings, ingest: Ingest, tmp_path: Path) -> None:
    wrong = replace(settings, dimse_port=0, dimse_tls_port=0, dimse_tls_certificate=str(tmp_path / "none.pem"))
    with pytest.raises(BadRequest, match="certificate"):
        DimseServer(wrong, ingest).start()


@pytest.mark.peer
def test_storescu_stores_by_tls(
    server: DimseServer, certificates: Certificates, tmp_path: Path, make_instance: object, database: Database
) -> None:
    if shutil.which("storescu") is None:
        pytest.skip("dcmtk's storescu is not here")
    assert callable(make_instance)
    (tmp_path / "1.dcm").write_bytes(make_instance(1))
    certificate, key = certificates.pair("one")
    command = ["storescu", "-aet", "ONE", "-aec", "HUTONG", "+tls", key, certificate, "+cf", certificates.authority]
    command += ["127.0.0.1", str(server.tls_port), str(tmp_path / "1.dcm")]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    with database.reading() as uow:
        assert len(studies.locate(uow, 1)) == 1
