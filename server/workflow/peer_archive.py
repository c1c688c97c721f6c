"""A peer as an archive that is asked and fetched from: by DICOMweb, or by C-FIND with C-MOVE or C-GET.

Which studies a patient has may be asked of a FHIR server instead, which knows what the peer has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from server.errors import NotFound, Unavailable
from server.imaging import attributes as read
from server.imaging.dataset import Attributes
from server.imaging.ingest import Ingest, Outcome, Received, Refused
from server.imaging.part10 import write_meta
from server.outbound import dicomweb
from server.outbound.dimse import retrieve
from server.outbound.dimse.entity import Entity
from server.outbound.dimse.find import find
from server.outbound.dimse.retrieve import Arrival, Progress
from server.outbound.fhir import connect_fhir
from server.security.access import Access
from server.settings import Peer
from server.workflow import prior_studies


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """What a retrieval brought."""

    #: Instances that are here now.
    instances: int
    #: What our own door refused, in words; empty for nothing.
    refused: str = ""


@dataclass(frozen=True, kw_only=True)
class PeerArchive:
    """Asks peers and takes in what they have."""

    entity: Entity
    ingest: Ingest

    def studies(self, peer: Peer, keys: Mapping[str, str], wanted: Sequence[str]) -> list[Attributes]:
        """The studies that match, each with the attributes wanted (keywords); as a query by STUDY level has it."""
        if peer.fhir_url:
            with connect_fhir(self.entity, peer) as fhir:
                found = list(fhir.resources("ImagingStudy", prior_studies.search_of(keys)))
            return prior_studies.answers(found, keys.get("PatientID", ""))
        if peer.url:
            with dicomweb.connect(self.entity, peer) as web:
                return web.search("/studies", {**keys, "includefield": ",".join(wanted)})
        return self._found(peer, "STUDY", keys, wanted)

    def body_parts(self, peer: Peer, study: str) -> list[str]:
        """Body Part Examined of the study's series."""
        if peer.url:
            with dicomweb.connect(self.entity, peer) as web:
                path = f"{dicomweb.uid_path(study)}/series"
                found = web.search(path, {"includefield": "BodyPartExamined"})
        else:
            keys = {"StudyInstanceUID": study}
            found = self._found(peer, "SERIES", keys, ("SeriesInstanceUID", "BodyPartExamined"))
        return [part for series in found if (part := read.text(series, "00180015"))]

    def _found(self, peer: Peer, level: str, keys: Mapping[str, str], wanted: Sequence[str]) -> list[Attributes]:
        identifier = Dataset()
        identifier.QueryRetrieveLevel = level
        for keyword in wanted:
            setattr(identifier, keyword, None)
        for keyword, value in keys.items():
            setattr(identifier, keyword, value)
        return [answer.to_json_dict(suppress_invalid_tags=True) for answer in find(self.entity, peer, identifier)]

    def fetch(self, access: Access, peer: Peer, study: str) -> Fetched:
        """Brings the study here; raises NotFound where the peer has none, Unavailable where some of it is missing."""
        if peer.url:
            return self._by_web(access, peer, study)
        identifier = Dataset()
        identifier.QueryRetrieveLevel = "STUDY"
        identifier.StudyInstanceUID = study
        if peer.fetch_by == "get":
            return self._by_get(access, peer, identifier)
        *_, last = retrieve.move(self.entity, peer, identifier)
        return _complete(peer, last, Fetched(instances=last.completed + last.warning))

    def _by_web(self, access: Access, peer: Peer, study: str) -> Fetched:
        with dicomweb.connect(self.entity, peer) as web, web.retrieve(dicomweb.uid_path(study)) as parts:
            outcome = self.ingest.receive(access, (Received(chunks=part) for part in parts), study=study)
        return _nothing_is_missing(peer, _fetched(outcome))

    def _by_get(self, access: Access, peer: Peer, identifier: Dataset) -> Fetched:
        study = str(identifier.StudyInstanceUID)
        answers = self._found(peer, "STUDY", {"StudyInstanceUID": study}, ("SOPClassesInStudy",))
        known = [str(value) for answer in answers for value in read.values(answer, "00080062")]
        with self.ingest.session(access, study=study) as session:

            def take(arrival: Arrival) -> int:
                session.begin(arrival.sop_class, arrival.sop_instance)
                session.data(
                    write_meta(
                        sop_class=arrival.sop_class, sop_instance=arrival.sop_instance,
                        transfer_syntax=arrival.transfer_syntax, source_ae=peer.ae_title,
                    )
                )  # fmt: skip
                session.data(arrival.data)
                ended = session.end()
                return ended.reason if isinstance(ended, Refused) else 0

            *_, last = retrieve.get(self.entity, peer, identifier, take, sop_classes=known)
            fetched = _fetched(session.finish())
        # What we refused counts as failed there; that is told apart from what did not come.
        refused_only = bool(fetched.refused) and not last.remaining
        return fetched if refused_only else _complete(peer, last, fetched)


def _fetched(outcome: Outcome) -> Fetched:
    reasons = sorted({f"{one.reason:04X} {one.details}" for one in outcome.refused})
    refused = f"{len(outcome.refused)} refused here: {reasons[0]}" if reasons else ""
    return Fetched(instances=len(outcome.stored) + len(outcome.already), refused=refused)


def _complete(peer: Peer, last: Progress, fetched: Fetched) -> Fetched:
    if last.failed:
        raise Unavailable(f"The peer {peer.name} could not send {last.failed} instances; they are asked for again.")
    return _nothing_is_missing(peer, fetched)


def _nothing_is_missing(peer: Peer, fetched: Fetched) -> Fetched:
    if not fetched.instances and not fetched.refused:
        raise NotFound(f"The peer {peer.name} has no such study.")
    return fetched
