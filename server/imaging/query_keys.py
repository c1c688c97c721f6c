"""The attributes that searches match on, and the index column of each.

PS3.18 tables 10.6.1-5 and 10.6.3-3 to -5, PS3.4 tables C.6-1 to C.6-4. Others are declared; see ``extended_tags``.
"""

from dataclasses import dataclass

from pydicom.datadict import DicomDictionary, keyword_dict

from server.store.studies import Level

ORDER: tuple[Level, ...] = ("patient", "study", "series", "instance")


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One matching key."""

    tag: str
    keyword: str
    #: Whose attribute it is.
    level: Level
    column: str
    vr: str


def _keys(level: Level, table: str) -> list[Key]:
    keys = []
    for line in table.strip().splitlines():
        tag, keyword, column = line.split()
        keys.append(Key(tag=tag, keyword=keyword, level=level, column=column, vr=DicomDictionary[int(tag, 16)][0]))
    return keys


_PATIENT = """
    00100010 PatientName patient.name_folded
    00100020 PatientID patient.patient_id
    00100021 IssuerOfPatientID patient.issuer
    00100030 PatientBirthDate patient.birth_date
    00100040 PatientSex patient.sex
"""
_STUDY = """
    00080020 StudyDate study.study_date
    00080030 StudyTime study.study_time
    00080050 AccessionNumber study.accession
    00080061 ModalitiesInStudy study.modalities
    00080062 SOPClassesInStudy study.sop_classes
    00080090 ReferringPhysicianName study.referring_folded
    00081030 StudyDescription study.description
    0020000D StudyInstanceUID study.study
    00200010 StudyID study.study_id
    00201206 NumberOfStudyRelatedSeries study.series_count
    00201208 NumberOfStudyRelatedInstances study.instance_count
"""
_SERIES = """
    00080060 Modality series.modality
    0008103E SeriesDescription series.description
    00080070 Manufacturer series.manufacturer
    00081010 StationName series.station
    00180015 BodyPartExamined series.body_part
    00200060 Laterality series.laterality
    0020000E SeriesInstanceUID series.series
    00200011 SeriesNumber series.series_number
    00201209 NumberOfSeriesRelatedInstances series.instance_count
    00400244 PerformedProcedureStepStartDate series.step_date
    00400245 PerformedProcedureStepStartTime series.step_time
"""
_INSTANCE = """
    00080016 SOPClassUID instance.sop_class
    00080018 SOPInstanceUID instance.instance
    00083002 AvailableTransferSyntaxUID instance.transfer_syntax
    00200013 InstanceNumber instance.instance_number
    00280008 NumberOfFrames instance.frames
    00280010 Rows instance.rows
    00280011 Columns instance.columns
    00280100 BitsAllocated instance.bits_allocated
"""


KEYS = [
    *_keys("patient", _PATIENT),
    *_keys("study", _STUDY),
    *_keys("series", _SERIES),
    *_keys("instance", _INSTANCE),
]
BY_TAG = {key.tag: key for key in KEYS}


def tag_of(name: str) -> str | None:
    """The tag of one keyword or tag; None where it is neither."""
    if len(name) == 8 and all(character in "0123456789ABCDEFabcdef" for character in name):
        return name.upper()
    number = keyword_dict.get(name)
    return None if number is None else f"{number:08X}"


def path_of(name: str) -> tuple[str, ...] | None:
    """The tags of ``Tag.Tag`` or ``Keyword.Keyword`` (PS3.18 8.3.4.1), outermost first; None where it is none."""
    tags = [tag_of(part) for part in name.split(".")]
    return None if None in tags else tuple(tag for tag in tags if tag)


def vr_of(tag: str) -> str:
    """The VR that the data dictionary gives; of several the first, "UN" where it has none."""
    entry = DicomDictionary.get(int(tag, 16))
    return "UN" if entry is None else str(entry[0])[:2]


def is_above(one: Level, other: Level) -> bool:
    """Whether entities of ``one`` contain those of ``other``, or are they."""
    return ORDER.index(one) <= ORDER.index(other)
