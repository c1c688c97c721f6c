"""An SR by TID 1500, ours or anybody's, or by TID 4100 (Chest CAD), as Findings.

What we wrote comes back equal, the masks apart (they are in the SEG: read_seg). Of what others wrote everything that a
Findings can hold is taken and the rest left; what can't be understood raises UnreadableReport with its place.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from pydicom import Dataset

from dicom_sr import codes
from dicom_sr.content_tree import Node, coding, first_code, first_text, items, root, text
from dicom_sr.errors import UnreadableReport
from dicom_sr.findings import Algorithm, Findings, ImageReference
from dicom_sr.identity import sr_uid
from dicom_sr.measurement_report import ANALYSIS_KEY, MODEL_DIGEST
from dicom_sr.read_chest_cad import algorithm_holders, chest_cad_findings, is_chest_cad
from dicom_sr.read_group import Surroundings, finding_of, gone_of, image_references
from terminology.codings import Coding
from terminology.private_scheme import CHANGE

#: What evidence may name besides images: SR documents, SEG, real world value maps, presentation states, surfaces.
_NO_IMAGE = (
    "1.2.840.10008.5.1.4.1.1.88.",
    "1.2.840.10008.5.1.4.1.1.66",
    "1.2.840.10008.5.1.4.1.1.67",
    "1.2.840.10008.5.1.4.1.1.11.",
)


def read(dataset: Dataset, *, images: Iterable[Dataset] = (), uid_root: str = "2.25", zone: tzinfo = UTC) -> Findings:
    """The Findings of an SR.

    ``images`` are headers of the images reported on, where at hand: they tell where a graphic lies in the patient.
    ``uid_root`` is ours, by which our own reports are known; ``zone`` holds where the report names no time zone.
    """
    document = root(dataset)
    containers = {codes.IMAGING_MEASUREMENTS, codes.QUALITATIVE_EVALUATIONS}
    sections = [node for node in document.children() if node.concept in containers]
    chest_cad = is_chest_cad(document)
    if not sections and not chest_cad:
        raise UnreadableReport("no imaging measurements: not a report by TID 1500 or 4100", place="ContentSequence")
    headers = {str(image.SOPInstanceUID): image for image in images}
    instance = text(dataset, "SOPInstanceUID", "")
    around = Surroundings(report=instance, series=_series(dataset), images=headers, document=document)
    groups = [group for section in sections for group in section.named(codes.MEASUREMENT_GROUP)]
    written = _Written.of(document, sections, algorithm_holders(document) if chest_cad else groups)
    person = _person(dataset, document)
    found = [
        replace(finding_of(group, index, around), by_person=bool(person and written.name) and not _named(group))
        for index, group in enumerate(groups)
    ]
    absent = [node for section in sections for node in section.named(CHANGE) if node.code() == codes.ABSENT]
    library = list(_library(document, around.series))
    return Findings(
        key=_key(written, instance, uid_root),
        study_instance_uid=text(dataset, "StudyInstanceUID", ""),
        frame_of_reference_uid=_frame_of_reference(document, groups, headers),
        sources=tuple(library or _evidence(dataset)),
        findings=tuple(chest_cad_findings(document, around) if chest_cad else found),
        timestamp=_timestamp(dataset, written, zone),
        algorithm=written.algorithm(document),
        person=person,
        procedure=_procedure(document),
        verified=text(dataset, "VerificationFlag", "") == "VERIFIED",
        gone=tuple(gone_of(node) for node in absent if first_text(node.named(codes.TRACKING_UID))),
        comments=tuple(_comments(sections)),
    )


def predecessors(dataset: Dataset) -> tuple[str, ...]:
    """SOPInstanceUIDs of the documents that an SR follows: Predecessor Documents Sequence (PS3.3 C.17.2)."""
    return tuple(one.sop_instance_uid for one in _instances(dataset, ("PredecessorDocumentsSequence",)))


def _named(group: Node) -> bool:
    return any(group.named(codes.ALGORITHM_NAME))


def _comments(sections: Iterable[Node]) -> Iterator[str]:
    for section in sections:
        yield from (said for node in section.named(codes.COMMENT, "TEXT") if (said := node.text()))


@dataclass(frozen=True, kw_only=True)
class _Written:
    """What the report says of the program that made it: TID 4019 and Contributing Equipment."""

    name: str = ""
    version: str = ""
    manufacturer: str = ""
    is_ai: bool = False
    parameters: tuple[tuple[str, str], ...] = ()
    #: The Contributing Equipment item of purpose (1630, 99IHE).
    equipment: Dataset = field(default_factory=Dataset)

    @classmethod
    def of(cls, document: Node, sections: list[Node], groups: list[Node]) -> "_Written":
        """From the first group that names an algorithm, or from what says that nothing was found."""
        summaries = [node for section in sections for node in section.named(codes.CAD_SUMMARY)]
        for node in (*groups, *summaries):
            if name := first_text(node.named(codes.ALGORITHM_NAME)):
                break
        else:
            return cls(equipment=_contribution(document.dataset), is_ai=bool(len(_contribution(document.dataset))))
        equipment = _contribution(document.dataset)
        family = first_code(node.named(codes.ALGORITHM_FAMILY))
        texts = [child.text() for child in node.named(codes.ALGORITHM_PARAMETERS)]
        return cls(
            name=name,
            version=first_text(node.named(codes.ALGORITHM_VERSION)),
            manufacturer=first_text(node.named(codes.ALGORITHM_MANUFACTURER)),
            is_ai=bool(len(equipment)) or family == codes.ARTIFICIAL_INTELLIGENCE,
            parameters=tuple((name, value) for name, _, value in (one.partition("=") for one in texts)),
            equipment=equipment,
        )

    def parameter(self, name: str) -> str:
        """The first parameter of that name; empty where there is none."""
        return next((value for known, value in self.parameters if known == name), "")

    def algorithm(self, document: Node) -> Algorithm | None:
        """The program: by TID 4019, Contributing Equipment and the device observer (TID 1004), each for the rest."""
        place = "ContributingEquipmentSequence."
        device_uid = text(self.equipment, "DeviceUID", place) or first_text(document.named(codes.DEVICE_UID))
        observer = first_text(document.named(codes.DEVICE_NAME)) or first_text(document.named(codes.DEVICE_MODEL))
        name = self.name or text(self.equipment, "ManufacturerModelName", place) or observer
        if not name and not device_uid:
            return None
        general = text(document.dataset, "ManufacturerModelName", "") if device_uid else ""
        return Algorithm(
            name=name or general or "unnamed device",
            version=self.version or text(self.equipment, "SoftwareVersions", place),
            manufacturer=text(self.equipment, "Manufacturer", place)
            or first_text(document.named(codes.DEVICE_MANUFACTURER))
            or self.manufacturer,
            device_uid=device_uid,
            digest=self.parameter(MODEL_DIGEST),
            parameters=tuple(pair for pair in self.parameters if pair[0] not in (ANALYSIS_KEY, MODEL_DIGEST)),
            is_ai=self.is_ai,
        )


def _contribution(dataset: Dataset) -> Dataset:
    for item in items(dataset, "ContributingEquipmentSequence", ""):
        purpose = coding(item, "PurposeOfReferenceCodeSequence", "ContributingEquipmentSequence.")
        if purpose == codes.PROCESSING_ALGORITHM:
            return item
    return Dataset()


def _key(written: _Written, instance: str, uid_root: str) -> str:
    """Our own analysis key where the SOPInstanceUID follows from it, so that no one else's report can claim it."""
    key = written.parameter(ANALYSIS_KEY)
    return key if key and sr_uid(uid_root, key) == instance else instance


_EVIDENCE = ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")


def _instances(dataset: Dataset, keywords: Iterable[str] = _EVIDENCE) -> Iterator[ImageReference]:
    """Everything in the evidence, or in another such sequence: PS3.3 C.17.2.1."""
    for keyword in keywords:
        for study in items(dataset, keyword, ""):
            for series in items(study, "ReferencedSeriesSequence", f"{keyword}."):
                series_uid = text(series, "SeriesInstanceUID", f"{keyword}.")
                for one in items(series, "ReferencedSOPSequence", f"{keyword}."):
                    yield ImageReference(
                        sop_class_uid=text(one, "ReferencedSOPClassUID", f"{keyword}."),
                        sop_instance_uid=text(one, "ReferencedSOPInstanceUID", f"{keyword}."),
                        series_instance_uid=series_uid,
                    )


def _series(dataset: Dataset) -> Mapping[str, str]:
    return {one.sop_instance_uid: one.series_instance_uid for one in _instances(dataset)}


def _evidence(dataset: Dataset) -> list[ImageReference]:
    return [one for one in _instances(dataset) if not one.sop_class_uid.startswith(_NO_IMAGE)]


def _library(document: Node, series: Mapping[str, str]) -> Iterator[ImageReference]:
    """The images of the Image Library (TID 1600), in its order."""
    for library in document.named(codes.IMAGE_LIBRARY):
        for group in (library, *library.named(codes.IMAGE_LIBRARY_GROUP)):
            for node in group.children():
                if node.value_type == "IMAGE":
                    yield from image_references(node, series)


def _frame_of_reference(document: Node, groups: list[Node], images: Mapping[str, Dataset]) -> str:
    for library in document.named(codes.IMAGE_LIBRARY):
        for group in library.named(codes.IMAGE_LIBRARY_GROUP):
            if found := first_text(group.named(codes.FRAME_OF_REFERENCE_UID)):
                return found
    for group in groups:
        for holder in (group, *group.children()):
            for node in holder.children():
                if node.value_type == "SCOORD3D":
                    return text(node.dataset, "ReferencedFrameOfReferenceUID", node.place)
    return next((text(image, "FrameOfReferenceUID", "") for image in images.values()), "")


def _person(dataset: Dataset, document: Node) -> str | None:
    named = first_text(document.named(codes.PERSON_NAME))
    verifiers = items(dataset, "VerifyingObserverSequence", "")
    verifier = next((text(one, "VerifyingObserverName", "VerifyingObserverSequence.") for one in verifiers), "")
    if text(dataset, "VerificationFlag", "") == "VERIFIED":
        return verifier or named or None
    return named or verifier or None


def _procedure(document: Node) -> Coding | None:
    procedure = first_code(document.named(codes.PROCEDURE_REPORTED))
    return None if procedure == codes.IMAGING_PROCEDURE else procedure


def _timestamp(dataset: Dataset, written: _Written, zone: tzinfo) -> datetime:
    """When the report was made: by the most exact of what it says."""
    exact = text(dataset, "ObservationDateTime", "") or text(written.equipment, "ContributionDateTime", "")
    if exact:
        return _moment(exact, zone, "ObservationDateTime")
    offset = text(dataset, "TimezoneOffsetFromUTC", "")
    for prefix in ("Content", "Series", "InstanceCreation"):
        if day := text(dataset, f"{prefix}Date", ""):
            return _moment(day + text(dataset, f"{prefix}Time", "") + offset, zone, f"{prefix}Date")
    raise UnreadableReport("no date", place="ContentDate")


def _moment(value: str, zone: tzinfo, place: str) -> datetime:
    """A DT (PS3.5 6.2), as far as it is given."""
    body, sign, offset = value, "", ""
    for mark in "+-":
        if mark in value:
            body, sign, offset = value.partition(mark)
    digits, _, fraction = body.replace(":", "").partition(".")
    try:
        if sign:
            size = timedelta(hours=int(offset[:2]), minutes=int(offset[2:4] or 0))
            zone = timezone(-size if sign == "-" else size)
        parts = [int(digits[a:b] or d) for a, b, d in _FIELDS]
        return datetime(*parts, int(fraction[:6].ljust(6, "0")), tzinfo=zone)  # type: ignore[arg-type,misc]
    except ValueError as error:
        raise UnreadableReport("no date and time", place=place) from error


#: Year, month, day, hour, minute, second of a DT: from, to, and what holds where it is not given.
_FIELDS = ((0, 4, ""), (4, 6, 1), (6, 8, 1), (8, 10, 0), (10, 12, 0), (12, 14, 0))
