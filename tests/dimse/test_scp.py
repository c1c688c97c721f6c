"""C-ECHO and C-STORE over real sockets: pynetdicom and dcmtk as peers."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pynetdicom import AE

from server.dimse.server import DimseServer
from server.imaging.ingest import Ingest
from server.security.access import system
from server.settings import Peer, Settings
from server.store import studies
from server.store.database import Database
from server.store.packs import Packs

Make = Callable[..., bytes]
CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"


def caller(*contexts: str, syntax: str = "1.2.840.10008.1.2.1", title: str = "TESTER") -> AE:
    entity = AE(ae_title=title)
    for context in contexts:
        entity.add_requested_context(context, syntax)
    return entity


def store(port: int, files: list[bytes], syntax: str = "1.2.840.10008.1.2.1") -> list[int]:
    association = caller(CT, syntax=syntax).associate("127.0.0.1", port, ae_title="HUTONG")
    assert association.is_established
    answers = [association.send_c_store(pydicom.dcmread(BytesIO(file))).Status for file in files]
    association.release()
    return answers


def echo_seconds(port: int) -> float:
    start = time.monotonic()
    association = caller(VERIFICATION).associate("127.0.0.1", port, ae_title="HUTONG")
    assert association.is_established
    assert association.send_c_echo().Status == 0
    association.release()
    return time.monotonic() - start


def test_what_is_stored_is_found_and_its_data_set_unchanged(
    server: DimseServer, database: Database, settings: Settings, make_instance: Make
) -> None:
    files = [make_instance(n) for n in (1, 2, 3)]
    assert store(server.port, files) == [0, 0, 0]
    with database.reading() as uow:
        located = studies.locate(uow, 1, "1.2.3")
    assert len({found.pack for found in located}) == 1
    for file, found in zip(files, located, strict=True):
        back = Packs(settings.blobs).read(1, found.pack, found.pack_offset, found.length)
        assert pydicom.dcmread(BytesIO(back)) == pydicom.dcmread(BytesIO(file))
        assert pydicom.dcmread(BytesIO(back)).file_meta.SourceApplicationEntityTitle == "TESTER"


def test_the_same_again_by_either_protocol_is_success(
    server: DimseServer, ingest: Ingest, database: Database, make_instance: Make
) -> None:
    from server.imaging.ingest import Received

    assert store(server.port, [make_instance()]) == [0]
    outcome = ingest.receive(system(), [Received(chunks=[make_instance()])])
    assert len(outcome.already) == 1
    assert store(server.port, [make_instance(syntax="1.2.840.10008.1.2")], "1.2.840.10008.1.2") == [0]
    with database.reading() as uow:
        assert len(studies.locate(uow, 1)) == 1


def test_refusals_carry_their_reason(server: DimseServer, make_instance: Make) -> None:
    assert store(server.port, [make_instance()]) == [0]
    assert store(server.port, [make_instance(StudyDescription="Other")]) == [0x0111]
    assert store(server.port, [make_instance(2, StudyInstanceUID=None)]) == [0xA900]


def test_twelve_idle_connections_do_not_delay_an_echo(server: DimseServer) -> None:
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(12)]
    time.sleep(0.1)
    assert echo_seconds(server.port) < 1.0
    for connection in idle:
        connection.close()


def test_a_peer_that_calls_somebody_else_is_rejected(server: DimseServer) -> None:
    association = caller(VERIFICATION).associate("127.0.0.1", server.port, ae_title="OTHER")
    assert association.is_rejected


def test_off_loopback_only_known_peers_may_call(settings: Settings, ingest: Ingest) -> None:
    peers = (Peer(name="known", ae_title="KNOWN", host="127.0.0.1"), Peer(name="far", ae_title="FAR", host="192.0.2.1"))
    guarded = DimseServer(replace(settings, host="0.0.0.0", dimse_port=0, peers=peers), ingest)
    guarded.start()
    known = caller(VERIFICATION, title="KNOWN").associate("127.0.0.1", guarded.port, ae_title="HUTONG")
    stranger = caller(VERIFICATION, title="STRANGER").associate("127.0.0.1", guarded.port, ae_title="HUTONG")
    assert known.is_established and stranger.is_rejected
    known.release()
    guarded.stop()


def test_a_known_title_from_another_address_is_rejected(settings: Settings, ingest: Ingest) -> None:
    peers = (Peer(name="a", ae_title="KNOWN", host="192.0.2.1"), Peer(name="b", ae_title="HERE", host="127.0.0.1"))
    guarded = DimseServer(replace(settings, host="0.0.0.0", dimse_port=0, peers=peers), ingest)
    guarded.start()
    association = caller(CT, title="KNOWN").associate("127.0.0.1", guarded.port, ae_title="HUTONG")
    assert association.is_rejected
    guarded.stop()


def _dcmtk(program: str, server: DimseServer, *arguments: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"dcmtk's {program} is not here")
    command = [program, "-aec", "HUTONG", "127.0.0.1", str(server.port), *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.mark.peer
def test_echoscu_is_answered(server: DimseServer) -> None:
    _dcmtk("echoscu", server, "--repeat", "5")
    # All of its syntaxes in as many contexts as there may be.
    _dcmtk("echoscu", server, "-pts", "3", "-ppc", "128")


@pytest.mark.peer
def test_storescu_stores(server: DimseServer, database: Database, tmp_path: Path, make_instance: Make) -> None:
    for n in range(1, 6):
        (tmp_path / f"{n}.dcm").write_bytes(make_instance(n))
    _dcmtk("storescu", server, "+sd", str(tmp_path))
    with database.reading() as uow:
        assert len(studies.locate(uow, 1)) == 5


@pytest.mark.peer
@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("-xe", "CT_small.dcm"),
        ("-xb", "ExplVR_BigEnd.dcm"),
        ("-xi", "MR_small_implicit.dcm"),
        ("-xs", "SC_rgb_jpeg_gdcm.dcm"),
        ("-xy", "SC_rgb_dcmtk_+eb+cr.dcm"),
        ("-xt", "MR_small_jpeg_ls_lossless.dcm"),
        ("-xv", "MR_small_jp2klossless.dcm"),
        ("-xw", "JPEG2000.dcm"),
        ("-xr", "MR_small_RLE.dcm"),
        ("-xx", "JPGExtended.dcm"),
        ("-xd", "image_dfl.dcm"),
    ],
)
def test_storescu_stores_what_is_compressed_as_it_is(
    server: DimseServer, database: Database, settings: Settings, option: str, name: str
) -> None:
    path = get_testdata_file(name)
    assert isinstance(path, str)
    sent = pydicom.dcmread(path)
    _dcmtk("storescu", server, option, path)
    with database.reading() as uow:
        (found,) = studies.locate(uow, 1)
    back = pydicom.dcmread(BytesIO(Packs(settings.blobs).read(1, found.pack, found.pack_offset, found.length)))
    assert back.SOPInstanceUID == sent.SOPInstanceUID
    assert back.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
    assert back.PixelData == sent.PixelData
