"""The queue to real peers: Orthanc by C-STORE and STOW-RS, dcmtk that is away for a while, another Hutong."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

import pydicom
import pytest
from pydicom.uid import RLELossless

from server.app.dimse import offers
from server.app.parts import compose
from server.dimse.server import DimseServer
from server.errors import HutongError
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest, Received
from server.imaging.pixel_pool import PixelPool
from server.imaging.retrieve import Retrieve
from server.imaging.sameness import content_digest
from server.outbound.dimse.echo import echo
from server.outbound.dimse.entity import Entity
from server.security.access import system
from server.settings import Forward, Peer, Settings
from server.store import forward as store
from server.store.database import Database
from server.store.packs import Packs
from server.workflow.commit import Committer
from server.workflow.deliver import Deliverer
from server.workflow.forward import Forwarder
from server.workflow.send import Carrier
from tests.orthanc import Orthanc, free_port, running

Make = Callable[..., bytes]
pytestmark = pytest.mark.peer
US = Entity(title="HUTONG")
EXPLICIT = "1.2.840.10008.1.2.1"


class House:
    """The half of the server that sends: a store, rules and a deliverer of its own."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.database = database
        packs = Packs(f"{settings.blobs}-sender")
        self.ingest = Ingest(database, packs, GuardLimits(), UTC)
        self.retrieve = Retrieve(database, packs, GuardLimits())
        self.pool = PixelPool(1, 1 << 30)

    def receive(self, *files: bytes) -> None:
        assert not self.ingest.receive(system(), [Received(chunks=[file]) for file in files]).refused

    def forward(self, study: str, peers: tuple[Peer, ...], *rules: Forward) -> None:
        Forwarder(self.database, peers, rules).quiet(1, study)

    @contextmanager
    def delivering(self, *peers: Peer) -> Iterator[None]:
        """A deliverer that works while the block does."""
        carrier = Carrier(retrieve=self.retrieve, entity=US, transcode=self.pool.transcode)
        deliverer = Deliverer(
            database=self.database, retrieve=self.retrieve, peers=peers, rules=(), zone=ZoneInfo("UTC"),
            carry=carrier.carry, commit=Committer(entity=US),
        )  # fmt: skip
        stopping = threading.Event()
        thread = threading.Thread(target=deliverer.run, args=(stopping,))
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()

    def waiting(self, peer: str = "") -> list[store.Line]:
        with self.database.reading() as uow:
            return store.lines(uow, 1, peer=peer)

    def drain(self, peer: str = "", seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while self.waiting(peer):
            assert time.monotonic() < deadline, self.waiting(peer)
            time.sleep(0.05)


@pytest.fixture
def house(settings: Settings, database: Database) -> Iterator[House]:
    made = House(settings, database)
    yield made
    made.pool.close()


def digest(file: bytes) -> bytes:
    return content_digest(file, 0, len(file), GuardLimits())


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    with running(tmp_path, free_port(), free_port(), {}, {}) as started:
        yield started


@pytest.mark.parametrize("by", ["C-STORE", "STOW-RS"])
def test_orthanc_gets_what_it_is_sent(orthanc: Orthanc, house: House, make_instance: Make, by: str) -> None:
    files = [make_instance(n) for n in (1, 2, 3)]
    house.receive(*files)
    if by == "C-STORE":
        peer = Peer(name="orthanc", ae_title="ORTHANC", port=orthanc.dimse_port)
    else:
        peer = Peer(name="orthanc", url=orthanc.url, commit=True)
    house.forward("1.2.3", (peer,), Forward(name="all", peer="orthanc"))
    with house.delivering(peer):
        house.drain()
    with house.database.reading() as uow:
        (line,) = store.lines(uow, 1, everything=True)
    assert (line.sent, line.committed) == (3, 3 if peer.commit else 0)
    back = [orthanc.client.get(f"/instances/{i}/file").content for i in orthanc.client.get("/instances").json()]
    assert sorted(digest(file) for file in back) == sorted(digest(file) for file in files)


@contextmanager
def storescp(folder: Path, port: int, *options: str) -> Iterator[Peer]:
    """dcmtk's C-STORE SCP."""
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(["storescp", "-od", str(folder), "-aet", "DCMTK", *options, str(port)])
    peer = Peer(name=f"dcmtk{port}", ae_title="DCMTK", port=port, timeout=10)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                echo(US, peer)
                break
            except HutongError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield peer
    finally:
        process.kill()
        process.wait()


def test_a_peer_that_takes_nothing_compressed_gets_the_pixels_all_the_same(
    house: House, make_instance: Make, tmp_path: Path
) -> None:
    plain = pydicom.dcmread(BytesIO(make_instance(1)))
    plain.compress(RLELossless, generate_instance_uid=False)
    out = BytesIO()
    plain.save_as(out)
    house.receive(out.getvalue())
    with storescp(tmp_path / "scp", free_port(), "+xi") as peer:
        house.forward("1.2.3", (peer,), Forward(name="all", peer=peer.name))
        with house.delivering(peer):
            house.drain()
    (file,) = (tmp_path / "scp").iterdir()
    got = pydicom.dcmread(file)
    assert got.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"
    assert got.PixelData == pydicom.dcmread(BytesIO(make_instance(1))).PixelData


def test_a_peer_that_is_away_gets_everything_once_by_urgency(house: House, make_instance: Make, tmp_path: Path) -> None:
    port = free_port()
    peer = Peer(name="away", ae_title="DCMTK", port=port, timeout=5)
    rules = [
        Forward(name=word, peer="away", priority=word, match={"AccessionNumber": word.upper()})
        for word in ("low", "medium", "high")
    ]
    for rule in rules:
        files = [make_instance(n, study=f"1.2.{rule.rank}", AccessionNumber=rule.name.upper()) for n in range(1, 21)]
        house.receive(*files)
        house.forward(f"1.2.{rule.rank}", (peer,), *rules)
    with house.delivering(peer):
        time.sleep(2.5)
        assert len(house.waiting()) == 3
        # In the foreground: commands that run at once may write in another order than files arrived.
        with storescp(tmp_path / "scp", port, "--exec-sync", "-xcr", f"echo '#f' >> {tmp_path}/order"):
            house.drain()
    arrived = list((tmp_path / "scp").iterdir())
    order = (tmp_path / "order").read_text().split()
    assert len(arrived) == len(order) == len(set(order)) == 60
    studies = [name.split("1.2.")[1][0] for name in order]
    assert studies == ["0"] * 20 + ["1"] * 20 + ["2"] * 20


def test_orthanc_commits_itself_to_what_it_was_sent(
    house: House, make_instance: Make, tmp_path: Path, settings: Settings, database_url: str
) -> None:
    parts = compose(replace(settings, database_url=database_url, data=tmp_path / "whole"))
    dimse = DimseServer(replace(settings, dimse_port=0), parts.ingest, offers(parts))
    dimse.start()
    modalities = {"ours": {"AET": "HUTONG", "Host": "127.0.0.1", "Port": dimse.port}}
    try:
        with running(tmp_path, free_port(), free_port(), modalities, {}) as orthanc:
            peer = Peer(name="orthanc", ae_title="ORTHANC", port=orthanc.dimse_port, commit=True)
            house.receive(*(make_instance(n) for n in (1, 2, 3)))
            house.forward("1.2.3", (peer,), Forward(name="all", peer="orthanc"))
            with house.delivering(peer):
                house.drain()
    finally:
        dimse.stop()
        parts.database.close()
    with house.database.reading() as uow:
        (line,) = store.lines(uow, 1, everything=True)
    assert (line.state, line.sent, line.committed) == ("done", 3, 3)
