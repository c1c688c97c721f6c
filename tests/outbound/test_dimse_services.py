"""C-FIND, C-MOVE, C-GET, storage commitment, availability and TLS as user; pynetdicom stands on the other side."""

import gc
import hashlib
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    InstanceAvailabilityNotification,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from server.errors import Forbidden, NotAcceptable, Unprocessable, Unreachable
from server.outbound.dimse import availability, commitment, retrieve
from server.outbound.dimse.echo import echo
from server.outbound.dimse.entity import Entity
from server.outbound.dimse.find import find
from server.outbound.dimse.retrieve import Arrival
from server.settings import Peer

Make = Callable[..., bytes]
# pynetdicom leaves the socket of an aborted association to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
US = Entity(title="HUTONG")


@contextmanager
def serving(handlers: list[Any], *classes: str, context: ssl.SSLContext | None = None) -> Iterator[Peer]:
    """pynetdicom as acceptor of these SOP classes."""
    entity = AE(ae_title="PEER")
    for name in classes:
        entity.add_supported_context(name, ExplicitVRLittleEndian, scu_role=True, scp_role=True)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=context)
    try:
        yield Peer(name="pacs", ae_title="PEER", host="localhost", port=server.server_address[1], timeout=10)
    finally:
        server.shutdown()
        gc.collect()


def study(uid: str = "1.2.3") -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = uid
    return identifier


def test_find_gives_every_match_and_says_why_not() -> None:
    def answer(event: Any) -> Iterator[Any]:
        if event.identifier.StudyInstanceUID == "9":
            yield 0xA900, None
        for number in range(3):
            yield 0xFF00, study(f"1.{number}")

    with serving([(evt.EVT_C_FIND, answer)], StudyRootQueryRetrieveInformationModelFind) as peer:
        assert [one.StudyInstanceUID for one in find(US, peer, study(""))] == ["1.0", "1.1", "1.2"]
        assert next(find(US, peer, study(""))).StudyInstanceUID == "1.0"
        with pytest.raises(Unprocessable, match="A900"):
            list(find(US, peer, study("9")))
    with serving([], Verification) as peer, pytest.raises(NotAcceptable):
        list(find(US, peer, study("")))


def test_get_takes_what_comes_on_the_same_association(make_instance: Make) -> None:
    files = [pydicom.dcmread(BytesIO(make_instance(n))) for n in (1, 2, 3)]

    def answer(_event: Any) -> Iterator[Any]:
        yield len(files)
        for file in files:
            yield 0xFF00, file

    taken: list[Arrival] = []

    def take(arrival: Arrival) -> int:
        taken.append(arrival)
        return 0xA700 if len(taken) == 2 else 0

    classes = (StudyRootQueryRetrieveInformationModelGet, CTImageStorage)
    with serving([(evt.EVT_C_GET, answer)], *classes) as peer:
        *_, last = retrieve.get(US, peer, study(), take)
        assert (last.completed, last.failed) == (2, 1)
        taken.clear()
        *_, last = retrieve.get(US, peer, study(), take, sop_classes=[CTImageStorage])
    assert [one.sop_instance for one in taken] == ["1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.3"]
    assert {one.transfer_syntax for one in taken} == {ExplicitVRLittleEndian}
    assert pydicom.dcmread(BytesIO(taken[0].data), force=True).PixelData == files[0].PixelData


def test_move_tells_who_does_not_know_us() -> None:
    def answer(_event: Any) -> Iterator[Any]:
        yield None, None

    handlers = [(evt.EVT_C_MOVE, answer)]
    with (
        serving(handlers, StudyRootQueryRetrieveInformationModelMove) as peer,
        pytest.raises(Unprocessable, match="A801; enter our AE title"),
    ):
        list(retrieve.move(US, peer, study()))


def test_commitment_is_asked_for_and_reported() -> None:
    heard: list[Dataset] = []

    def action(event: Any) -> tuple[int, None]:
        heard.append(event.action_information)
        return 0x0000 if event.action_type == 1 else 0x0123, None

    def report(event: Any) -> tuple[int, None]:
        heard.append(event.event_information)
        return 0x0000, None

    handlers = [(evt.EVT_N_ACTION, action), (evt.EVT_N_EVENT_REPORT, report)]
    with serving(handlers, StorageCommitmentPushModel) as peer:
        assert commitment.request(US, peer, "2.25.1", [("1.2", "1.2.3")], linger=0.1) is None
        commitment.report(US, peer, "2.25.1", [("1.2", "1.2.3")], [("1.2", "1.2.4", 0x0112)])
    asked, told = heard
    assert asked.TransactionUID == told.TransactionUID == "2.25.1"
    assert asked.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3"
    read = commitment.read_report(told)
    assert (read.committed, read.failed) == (("1.2.3",), {"1.2.4": 0x0112})


def test_a_peer_that_reports_on_the_same_association() -> None:
    def action(event: Any) -> tuple[int, None]:
        asked = event.action_information
        event.assoc.told = Dataset()
        event.assoc.told.TransactionUID = asked.TransactionUID
        event.assoc.told.ReferencedSOPSequence = asked.ReferencedSOPSequence
        return 0x0000, None

    def sent(event: Any) -> None:
        # After the response is on its way, in this association's own thread.
        if getattr(event.assoc, "told", None) is not None and type(event.message).__name__ == "N_ACTION_RSP":
            told, event.assoc.told = event.assoc.told, None
            event.assoc.send_n_event_report(told, 1, StorageCommitmentPushModel, commitment.PUSH_MODEL_INSTANCE)

    handlers = [(evt.EVT_N_ACTION, action), (evt.EVT_DIMSE_SENT, sent)]
    with serving(handlers, StorageCommitmentPushModel) as peer:
        report = commitment.request(US, peer, "2.25.1", [("1.2", "1.2.3")], linger=5)
    assert report is not None and report.committed == ("1.2.3",)


def test_availability_is_told() -> None:
    heard: list[Dataset] = []

    def create(event: Any) -> tuple[int, Dataset]:
        heard.append(event.attribute_list)
        return 0x0000, Dataset()

    notification = Dataset()
    notification.StudyInstanceUID = "1.2.3"
    with serving([(evt.EVT_N_CREATE, create)], InstanceAvailabilityNotification) as peer:
        availability.notify(US, peer, notification)
    assert heard[0].StudyInstanceUID == "1.2.3"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that vouches for itself, with its key in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here")
    folder = tmp_path_factory.mktemp("tls")
    arguments = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", f"{folder}/key", "-out", f"{folder}/pem"]
    subprocess.run(["openssl", *arguments, *files], check=True, capture_output=True, timeout=60)
    both = folder / "both.pem"
    both.write_text((folder / "key").read_text() + (folder / "pem").read_text())
    return both


def test_tls_is_spoken_to_whom_we_know(certificate: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    context.load_cert_chain(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    pem = certificate.read_text()
    shown = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE") :])
    fingerprint = hashlib.sha256(shown).hexdigest()
    known = Entity(title="HUTONG", certificate=certificate, authorities=certificate)
    with serving([], Verification, context=context) as plain:
        peer = replace(plain, tls=True)
        echo(known, peer)
        echo(replace(known, authorities=None), replace(peer, certificate=fingerprint))
        with pytest.raises(Unreachable, match="TLS"):
            echo(replace(known, authorities=None), peer)
        with pytest.raises(Forbidden):
            echo(known, replace(peer, certificate="00" * 32))
        with pytest.raises(Unreachable):
            echo(replace(known, certificate=None), peer)
