"""The attributes that QIDO-RS matches on (PS3.18 tables 10.6.1-5 and 10.6.3-3 to -5) and the index column of each."""

from dataclasses import dataclass
from typing import Literal

from server.store.studies import Level

Kind = Literal["text", "name", "uid", "date", "time", "integer", "list"]
ORDER: tuple[Level, ...] = ("study", "series", "instance")


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One matching key."""

    tag: str
    keyword: str
    #: Lowest query level that knows it; patient level attributes belong to the study.
    level: Level
    column: str
    kind: Kind


def _keys(level: Level, table: str) -> list[Key]:
    keys = []
    for line in table.strip().splitlines():
        tag, keyword, column, kind = line.split()
        keys.append(Key(tag=tag, keyword=keyword, level=level, column=column, kind=kind))  # type: ignore[arg-type]
    return keys


_STUDY = """
    00080020 StudyDate study.study_date date
    00080030 StudyTime study.study_time time
    00080050 AccessionNumber study.accession text
    00080061 ModalitiesInStudy study.modalities list
    00080062 SOPClassesInStudy study.sop_classes list
    00080090 ReferringPhysicianName study.referring_folded name
    00081030 StudyDescription study.description text
    00100010 PatientName patient.name_folded name
    00100020 PatientID patient.patient_id text
    00100021 IssuerOfPatientID patient.issuer text
    00100030 PatientBirthDate patient.birth_date date
    00100040 PatientSex patient.sex text
    0020000D StudyInstanceUID study.study uid
    00200010 StudyID study.study_id text
    00201206 NumberOfStudyRelatedSeries study.series_count integer
    00201208 NumberOfStudyRelatedInstances study.instance_count integer
"""
_SERIES = """
    00080060 Modality series.modality text
    0008103E SeriesDescription series.description text
    00080070 Manufacturer series.manufacturer text
    00081010 StationName series.station text
    00180015 BodyPartExamined series.body_part text
    00200060 Laterality series.laterality text
    0020000E SeriesInstanceUID series.series uid
    00200011 SeriesNumber series.series_number integer
    00201209 NumberOfSeriesRelatedInstances series.instance_count integer
    00400244 PerformedProcedureStepStartDate series.step_date date
    00400245 PerformedProcedureStepStartTime series.step_time time
"""
_INSTANCE = """
    00080016 SOPClassUID instance.sop_class uid
    00080018 SOPInstanceUID instance.instance uid
    00083002 AvailableTransferSyntaxUID instance.transfer_syntax uid
    00200013 InstanceNumber instance.instance_number integer
    00280008 NumberOfFrames instance.frames integer
    00280010 Rows instance.rows integer
    00280011 Columns instance.columns integer
    00280100 BitsAllocated instance.bits_allocated integer
"""

KEYS = [*_keys("study", _STUDY), *_keys("series", _SERIES), *_keys("instance", _INSTANCE)]
BY_NAME = {name: key for key in KEYS for name in (key.tag, key.keyword)}
