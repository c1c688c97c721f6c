"""Findings written out: as SR and SEG through the door for instances, as FHIR resources through the repository.

Everything follows from the Findings that were committed before: the same UIDs, the same ids, the same content. Done
again after a crash, whatever was written already is recognised and left alone.
"""

from dataclasses import dataclass
from typing import Any

from pydicom import Dataset

from dicom_sr.errors import UnreadableReport
from dicom_sr.fhir_elements import Instance
from dicom_sr.findings import Findings
from dicom_sr.serialise import deserialise
from dicom_sr.to_fhir import amended, to_fhir
from dicom_sr.write_seg import write_seg
from dicom_sr.write_sr import write_sr
from server.errors import Unavailable
from server.imaging.ingest import Ingest, Received
from server.repository import Repository, Transaction
from server.security.access import Access, system
from server.settings import RESULTS, Peer
from server.store import forward
from server.store.analyses import Analysis
from server.telemetry import kill_points
from server.workflow.images import StudyImages, to_bytes

Resource = dict[str, Any]

#: The tag that says which adapter or algorithm a report is by: what subscriptions filter by.
ADAPTER_TAG = "urn:hutong:adapter"


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What was made of one Findings."""

    report: str
    #: Reference to the Device; empty where the report names none.
    device: str
    sr: Instance
    seg: Instance | None


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """The two doors, and whom results are sent on to."""

    repository: Repository
    ingest: Ingest
    uid_root: str
    peers: tuple[Peer, ...]

    def store(self, tenant: int, findings: Findings, images: StudyImages, before: Analysis | None) -> list[Dataset]:
        """SR and SEG (if any lesion has a mask) as instances of the study; stored once however often this runs."""
        sources = images.of_series(source.sop_instance_uid for source in findings.sources)
        predecessor = _report_of(images, before.sr_instance) if before is not None else None
        sr = write_sr(findings, sources, uid_root=self.uid_root, predecessor=predecessor)
        seg = write_seg(findings, sources, uid_root=self.uid_root)
        written = [sr] if seg is None else [sr, seg]
        received = [Received(chunks=[to_bytes(dataset)]) for dataset in written]
        kill_points.at("sr-written")
        outcome = self.ingest.receive(system(tenant), received)
        if outcome.refused:
            refused = outcome.refused[0]
            raise Unavailable(f"Our own result was refused by our own door: {refused.details}")
        kill_points.at("sr-stored")
        return written

    def store_version(
        self, access: Access, findings: Findings, images: StudyImages, sources: list[Dataset], before: Analysis,
        *, resegment: bool,
    ) -> list[Dataset]:  # fmt: skip
        """A person's version of a report as an SR of its own, by the person's own Access; raises ReportError.

        With ``resegment`` a SEG of what stands now comes with it, where any finding has voxels.
        """
        institution = str(sources[0].get("InstitutionName", "") or "") if sources else ""
        predecessor = _report_of(images, before.sr_instance)
        sr = write_sr(
            findings, sources, uid_root=self.uid_root, predecessor=predecessor, organization=institution
        )  # fmt: skip
        seg = write_seg(findings, sources, uid_root=self.uid_root, predecessor=predecessor) if resegment else None
        written = [sr] if seg is None else [sr, seg]
        outcome = self.ingest.receive(access, [Received(chunks=[to_bytes(one)]) for one in written])
        if outcome.refused:
            raise Unavailable(f"The version was refused by our own door: {outcome.refused[0].details}")
        return written

    def store_segments(self, tenant: int, findings: Findings, sources: list[Dataset], sr: Dataset) -> Dataset | None:
        """A SEG that fits a person's version which came as a document without one; None where nothing has voxels."""
        seg = write_seg(findings, sources, uid_root=self.uid_root, predecessor=sr)
        if seg is not None:
            outcome = self.ingest.receive(system(tenant), [Received(chunks=[to_bytes(seg)])])
            if outcome.refused:
                raise Unavailable(f"The segmentation was refused by our own door: {outcome.refused[0].details}")
        return seg

    def resources(
        self, transaction: Transaction, findings: Findings, study: Resource, sr: Instance, seg: Instance | None,
        *, name: str, before: Analysis | None = None, provider: str = "",
    ) -> Written:  # fmt: skip
        """The FHIR resources of one Findings, in the caller's transaction; what it supersedes is amended."""
        predecessor = {"reference": f"DiagnosticReport/{before.report}"} if before is not None else None
        made = to_fhir(
            findings,
            subject=study["subject"],
            imaging_study={"reference": f"ImagingStudy/{study['id']}"},
            sr=sr,
            seg=seg,
            effective=str(study.get("started", "")),
            predecessor=predecessor,
        )
        found = {resource["resourceType"]: resource for resource in made}
        _mark(found["DiagnosticReport"], found["Provenance"], name, provider)
        for resource in made:
            transaction.update(resource)
        if before is not None:
            for resource in amended(_results(transaction, before.report)):
                transaction.update(resource)
        report = found["DiagnosticReport"]["id"]
        device = f"Device/{found['Device']['id']}" if "Device" in found else ""
        return Written(report=report, device=device, sr=sr, seg=seg)

    def send_on(self, transaction: Transaction, study: str, instances: list[str]) -> None:
        """Queues results for every peer that wants them."""
        tenant = transaction.access.tenant
        for peer in self.peers:
            if peer.send_results:
                forward.queue(
                    transaction.uow, tenant, peer=peer.name, study=study, rule=RESULTS, instances=instances, rank=0
                )


def instance_of(dataset: Dataset) -> Instance:
    """Where a data set lies in DICOM."""
    return Instance(
        study_instance_uid=str(dataset.StudyInstanceUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        sop_class_uid=str(dataset.SOPClassUID),
    )


def findings_of(analysis: Analysis | None) -> Findings | None:
    """The Findings of an analysis that has any."""
    if analysis is None or analysis.findings is None:
        return None
    try:
        return deserialise(analysis.findings)
    except UnreadableReport as error:
        raise Unavailable(f"The findings of an earlier analysis can't be read: {error}") from error


def _report_of(images: StudyImages, instance: str) -> Dataset | None:
    place = next((place for place in images.located if place.instance == instance), None)
    return images.whole(place) if place is not None else None


def _mark(report: Resource, provenance: Resource, name: str, provider: str) -> None:
    """Says whose report it is, and on what the model ran."""
    if name:
        report["meta"] = {**report.get("meta", {}), "tag": [{"system": ADAPTER_TAG, "code": name}]}
    if provider:
        provenance["activity"] = {"text": f"Inference by ONNX Runtime, {provider}"}


def _results(transaction: Transaction, report: str) -> list[Resource]:
    """A report with the Observations that it consists of."""
    head = transaction.read("DiagnosticReport", report)
    groups = [_referred(transaction, reference) for reference in head.get("result", ())]
    members = [_referred(transaction, reference) for group in groups for reference in group.get("hasMember", ())]
    return [head, *groups, *members]


def _referred(transaction: Transaction, reference: Resource) -> Resource:
    kind, _, id = str(reference["reference"]).partition("/")
    return transaction.read(kind, id)
