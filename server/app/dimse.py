"""The process that speaks DICOM's own protocol."""

from functools import partial
from zoneinfo import ZoneInfo

from server.app.outbound import entity
from server.app.parts import Parts, compose
from server.dimse import server
from server.dimse.commitment import Committing
from server.dimse.destination import opening
from server.dimse.find import Finding
from server.dimse.get import Getting
from server.dimse.identifier import CharacterSets
from server.dimse.move import Moving
from server.dimse.mpps import Performing
from server.dimse.service import Offer
from server.dimse.suboperations import Sending
from server.dimse.worklist import WorklistFinding
from server.imaging.commitment import Commitments
from server.imaging.performed_step import PerformedSteps
from server.imaging.worklist import Worklist
from server.security import token
from server.settings import Settings
from server.store import deliveries
from server.store.packs import Packs
from server.telemetry import memory


def run(settings: Settings) -> None:
    """Answers until SIGTERM."""
    parts = compose(settings)
    services = offers(parts)
    memory.settle()
    server.serve(settings, parts.ingest, services, partial(token.access_for, parts.database))
    parts.pool.close()


def offers(parts: Parts) -> tuple[Offer, ...]:
    """Every service besides C-ECHO and C-STORE."""
    settings, database = parts.settings, parts.database
    sending = Sending(retrieve=parts.retrieve, transcode=parts.pool.transcode)
    zone = ZoneInfo(settings.tenant_zone)
    worklist = Worklist(repository=parts.repository, zone=zone, uid_root=settings.uid_root)
    steps = PerformedSteps(repository=parts.repository, worklist=worklist, zone=zone)

    sets = CharacterSets(settings.peers)

    def hears(tenant: int, transaction: str, kept: list[str], failed: dict[str, str]) -> bool:
        with database.unit_of_work() as uow:
            return deliveries.commitment_result(uow, tenant, transaction, kept, failed)

    return (
        Finding(database=database, title=settings.ae_title, character_sets=sets).offer(),
        Moving(database=database, sending=sending, peers=settings.peers, opens=opening(entity(settings))).offer(),
        Getting(database=database, sending=sending).offer(),
        WorklistFinding(find=worklist.find, character_sets=sets).offer(),
        Committing(commitments=Commitments(database, Packs(settings.blobs)), hears=hears).offer(),
        *Performing(steps=steps).offers(),
    )
