"""The modules that an SR and a SEG share: patient, study, series, equipment and SOP common (PS3.3 Annex A.35 and A.51).

What the source images lack (anonymised ones often have no birth date, sex or study time) is written empty where the
standard has it as type 2, and a value that its VR does not allow is written empty rather than handed on.
"""

import re
from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from datetime import datetime, timedelta, timezone

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_sr import codes
from dicom_sr.content_item import code_item, sop_reference
from dicom_sr.errors import UnwritableFindings
from dicom_sr.findings import Algorithm, Findings, ImageReference
from dicom_sr.identity import uid
from terminology.private_scheme import identification

#: Patient and study attributes handed on as text, with what their VR allows (PS3.5 6.2); {} only if present.
_TYPE_2 = {
    "PatientName": r".*",
    "PatientID": r".{0,64}",
    "PatientBirthDate": r"\d{8}",
    "PatientSex": r"[MFO]",
    "StudyDate": r"\d{8}",
    "StudyTime": r"\d{2,6}(\.\d{1,6})?",
    "ReferringPhysicianName": r".*",
    "StudyID": r".{0,16}",
    "AccessionNumber": r".{0,16}",
}
_TYPE_3 = {
    "IssuerOfPatientID": r".{1,64}",
    "PatientAge": r"\d{3}[DWMY]",
    "PatientIdentityRemoved": r"YES|NO",
    "DeidentificationMethod": r".{1,64}",
    "StudyDescription": r".{1,64}",
}
#: What a report is said to be made by where no algorithm made it; the version is that of the layout written here.
_MANUFACTURER, _MODEL, _VERSION = "Hutong", "Hutong report writer", "1"


def _checked(source: Dataset, keyword: str, pattern: str) -> str:
    value = source.get(keyword)
    text = "" if value is None or isinstance(value, MutableSequence) else str(value).strip()
    return text if re.fullmatch(pattern, text) else ""


def patient_and_study(target: Dataset, source: Dataset) -> None:
    """Hand on who and which study: PS3.3 C.7.1.1, C.7.2.1."""
    for keyword, pattern in _TYPE_2.items():
        setattr(target, keyword, _checked(source, keyword, pattern))
    for keyword, pattern in _TYPE_3.items():
        if text := _checked(source, keyword, pattern):
            setattr(target, keyword, text)
    if "DeidentificationMethodCodeSequence" in source:
        target.DeidentificationMethodCodeSequence = source.DeidentificationMethodCodeSequence
    if target.get("PatientIdentityRemoved") == "YES" and "DeidentificationMethod" not in target:
        target.DeidentificationMethod = "not stated by the source images"
    target.StudyInstanceUID = source.StudyInstanceUID


def new_instance(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """An empty data set with its SOP common module and file meta information."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = sop_class_uid
    dataset.file_meta.MediaStorageSOPInstanceUID = sop_instance_uid
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = uid("2.25", "implementation")
    dataset.file_meta.ImplementationVersionName = "HUTONG"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = sop_class_uid
    dataset.SOPInstanceUID = sop_instance_uid
    return dataset


def series(target: Dataset, modality: str, series_instance_uid: str, number: int, author: str = "AI") -> None:
    """A series of its own for one result instance: PS3.3 C.7.3.1."""
    target.Modality = modality
    target.SeriesInstanceUID = series_instance_uid
    target.SeriesNumber = number
    target.SeriesDescription = modality
    if "ContributingEquipmentSequence" in target:
        target.SeriesDescription = f"{author} findings ({modality})"
    target.InstanceNumber = 1


def _source_zone(source: Dataset) -> timezone | None:
    offset = _checked(source, "TimezoneOffsetFromUTC", r"[+-]\d{4}")
    if not offset:
        return None
    size = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5]))
    return timezone(-size if offset[0] == "-" else size)


def stamp(target: Dataset, source: Dataset, moment: datetime) -> None:
    """Every date and time of the object from one moment, in the source's time zone where it names one.

    PS3.3 C.12.1.1.8: Timezone Offset From UTC holds for all dates and times of an object, the study's among them, so
    it is handed on but never added.
    """
    if moment.tzinfo is None:
        raise UnwritableFindings("a timestamp needs a time zone", place="timestamp")
    zone = _source_zone(source)
    local = moment.astimezone(zone) if zone else moment
    if zone:
        target.TimezoneOffsetFromUTC = source.TimezoneOffsetFromUTC
    for prefix in ("InstanceCreation", "Series", "Content"):
        setattr(target, f"{prefix}Date", local.strftime("%Y%m%d"))
        setattr(target, f"{prefix}Time", dicom_time(local))


def dicom_time(moment: datetime) -> str:
    """A TM (PS3.5 6.2), the fraction only where there is one."""
    return moment.strftime("%H%M%S.%f" if moment.microsecond else "%H%M%S")


def dicom_datetime(moment: datetime) -> str:
    """A DT with its offset from UTC (PS3.5 6.2)."""
    offset = moment.utcoffset() or timedelta()
    minutes = round(offset.total_seconds() / 60)
    sign = "-" if minutes < 0 else "+"
    return f"{moment.strftime('%Y%m%d')}{dicom_time(moment)}{sign}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"


def own_equipment(target: Dataset) -> None:
    """General equipment (PS3.3 C.7.5.1) of what no algorithm made."""
    target.Manufacturer, target.ManufacturerModelName, target.SoftwareVersions = _MANUFACTURER, _MODEL, _VERSION


def equipment(target: Dataset, findings: Findings, predecessor: Dataset | None = None) -> None:
    """General equipment (PS3.3 C.7.5.1), and each algorithm as Contributing Equipment (C.12.1.1.5, IHE AIR 6.5.3.1).

    What a person has verified is written here, and the algorithm contributed when the predecessor says it did.
    """
    algorithm = None if findings.verified else findings.algorithm
    target.Manufacturer = algorithm.manufacturer if algorithm else _MANUFACTURER
    target.ManufacturerModelName = algorithm.name if algorithm else _MODEL
    target.SoftwareVersions = algorithm.version if algorithm else _VERSION
    # Type 1 (C.7.5.2): a program has no serial number, so what tells one build from another stands for it.
    target.DeviceSerialNumber = (algorithm.digest or algorithm.device_uid)[:64] if algorithm else _VERSION
    if findings.verified and predecessor is not None and "ContributingEquipmentSequence" in predecessor:
        target.ContributingEquipmentSequence = predecessor.ContributingEquipmentSequence
    elif findings.algorithm:
        target.ContributingEquipmentSequence = [contributing_equipment(findings.algorithm, findings.timestamp)]


def contributing_equipment(algorithm: Algorithm, moment: datetime) -> Dataset:
    """The item of the Contributing Equipment Sequence (0018,A001) that names a processing algorithm."""
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item(codes.PROCESSING_ALGORITHM)]
    item.Manufacturer = algorithm.manufacturer
    item.ManufacturerModelName = algorithm.name
    item.SoftwareVersions = algorithm.version
    item.DeviceUID = algorithm.device_uid
    item.ContributionDateTime = dicom_datetime(moment)
    item.ContributionDescription = "Found and measured what this object reports"
    return item


def evidence(study_instance_uid: str, references: Iterable[ImageReference]) -> Dataset:
    """One item of a Hierarchical SOP Instance Reference Macro: PS3.3 C.17.2.1."""
    series: dict[str, dict[str, ImageReference]] = {}
    for reference in references:
        series.setdefault(reference.series_instance_uid, {})[reference.sop_instance_uid] = reference
    item = Dataset()
    item.StudyInstanceUID = study_instance_uid
    item.ReferencedSeriesSequence = []
    for series_instance_uid, instances in series.items():
        one = Dataset()
        one.SeriesInstanceUID = series_instance_uid
        one.ReferencedSOPSequence = [sop_reference(_whole(instance)) for instance in instances.values()]
        item.ReferencedSeriesSequence.append(one)
    return item


def _whole(reference: ImageReference) -> ImageReference:
    return ImageReference(
        sop_class_uid=reference.sop_class_uid,
        sop_instance_uid=reference.sop_instance_uid,
        series_instance_uid=reference.series_instance_uid,
    )


def _designators(dataset: Dataset) -> Iterator[str]:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _designators(item)
        elif element.keyword == "CodingSchemeDesignator":
            yield str(element.value)


def declare_coding_schemes(target: Dataset) -> None:
    """Name every private coding scheme that the object uses: Coding Scheme Identification Sequence (0008,0110)."""
    items = []
    for designator in sorted(set(_designators(target))):
        scheme = identification(designator)
        if scheme is None:
            continue
        item = Dataset()
        item.CodingSchemeDesignator = scheme.designator
        if scheme.uid:
            item.CodingSchemeUID = scheme.uid
        item.CodingSchemeName = scheme.name
        if scheme.responsible:
            item.CodingSchemeResponsibleOrganization = scheme.responsible
        items.append(item)
    if items:
        target.CodingSchemeIdentificationSequence = items


def source_of(findings: Findings, sources: Sequence[Dataset]) -> dict[str, Dataset]:
    """The source images by SOPInstanceUID; raises UnwritableFindings where they are not the study's."""
    if not sources:
        raise UnwritableFindings("no source image: patient and study would be unknown", place="sources")
    for index, source in enumerate(sources):
        if source.get("StudyInstanceUID") != findings.study_instance_uid:
            raise UnwritableFindings("a source image is of another study", place=f"sources[{index}]")
    return {str(source.SOPInstanceUID): source for source in sources}
