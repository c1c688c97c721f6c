"""What leaves us: who we are when we call, and the queue to peers."""

from pathlib import Path
from zoneinfo import ZoneInfo

from pydicom import Dataset

from server.app.parts import Parts
from server.imaging.commitment import Commitments
from server.imaging.commitment import Report as Promise
from server.imaging.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from server.outbound.dimse import availability, commitment
from server.outbound.dimse.entity import Entity
from server.settings import Peer, Settings
from server.store.database import Database
from server.store.packs import Packs
from server.workflow.availability import Announcer
from server.workflow.commit import Committer
from server.workflow.commitment import CommitmentReporter
from server.workflow.deliver import Deliverer
from server.workflow.fetch import Fetcher, check_priors
from server.workflow.forward import Forwarder
from server.workflow.peer_archive import PeerArchive
from server.workflow.send import Carrier


def entity(settings: Settings) -> Entity:
    """Who we are when we call."""

    def file(name: str) -> Path | None:
        return Path(name) if name else None

    return Entity(
        title=settings.ae_title,
        implementation=(IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME),
        certificate=file(settings.dimse_tls_certificate),
        key=file(settings.dimse_tls_key),
        authorities=file(settings.dimse_tls_ca),
    )


def check(settings: Settings) -> None:
    """Raises BadRequest that names the rule which could never fit, before anything is started."""
    database = Database(settings.database_url)
    Forwarder(database, settings.peers, settings.forward)
    check_priors(settings.priors, settings.peers)
    database.close()


def announcer(parts: Parts) -> Announcer:
    """What tells peers of studies that became available."""
    settings, us = parts.settings, entity(parts.settings)

    def tell(peer: Peer, notification: Dataset) -> None:
        availability.notify(us, peer, notification)

    return Announcer(database=parts.database, peers=settings.peers, title=settings.ae_title, tell=tell)


def commitments(parts: Parts) -> CommitmentReporter:
    """What tells peers what we commit ourselves to."""
    settings, us = parts.settings, entity(parts.settings)

    def tell(peer: Peer, report: Promise) -> None:
        commitment.report(us, peer, report.transaction, report.committed, report.failed)

    kept = Commitments(parts.database, Packs(settings.blobs))
    return CommitmentReporter(commitments=kept, peers=settings.peers, tell=tell)


def deliverer(parts: Parts) -> Deliverer:
    """What works on the queue to peers."""
    settings, us = parts.settings, entity(parts.settings)
    return Deliverer(
        database=parts.database,
        retrieve=parts.retrieve,
        peers=settings.peers,
        rules=settings.forward,
        zone=ZoneInfo(settings.tenant_zone),
        carry=Carrier(retrieve=parts.retrieve, entity=us, transcode=parts.pool.transcode).carry,
        commit=Committer(entity=us),
    )


def fetcher(parts: Parts) -> Fetcher:
    """What fetches from peers."""
    settings = parts.settings
    return Fetcher(
        database=parts.database,
        archive=PeerArchive(entity=entity(settings), ingest=parts.ingest),
        peers=settings.peers,
        rules=settings.priors,
    )
