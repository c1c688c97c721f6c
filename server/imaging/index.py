"""What the index says of an instance: rows of patient, study, series and instance from its header."""

import uuid
from dataclasses import dataclass
from datetime import tzinfo
from functools import lru_cache

import orjson

from server.imaging import attributes as read
from server.imaging.dataset import Attributes
from server.imaging.guard import Sound
from server.store.instances import InstanceRow, PatientRow, SeriesRow, StudyRow

#: Ours; resource ids are derived in it, so that everybody who sees the same study derives the same.
NAMESPACE = uuid.UUID("7d3c1a52-0f0b-4b61-9c1e-2f6f3f6a1d10")

#: Attributes of each level that QIDO-RS answers with (PS3.18 tables 10.6.3-3 to 10.6.3-5, PS3.4 tables C.6-1 to C.6-4).
#: Disjoint, so that the parts of an answer are joined as they are stored. 0008,0005 is not kept: JSON is UTF-8.
PATIENT_KEYS = ("00100010", "00100020", "00100021", "00100030", "00100040", "00104000")
STUDY_KEYS = (
    *("00080020", "00080030", "00080050", "00080051", "00080090", "00080201", "00081030", "00081032"),
    *("0020000D", "00200010", "00101010", "00101030"),
)
SERIES_KEYS = (
    *("00080060", "00080021", "00080031", "0008103E", "00080070", "00081010", "00081090", "00180015"),
    *("00181030", "00200060", "0020000E", "00200011", "00200052", "00400244", "00400245", "00400275", "00081250"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """What an instance says of all that it belongs to."""

    patient: PatientRow
    study: StudyRow
    series: SeriesRow


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where the bytes of an instance are, and who sent them."""

    pack: str
    offset: int
    length: int
    digest: bytes
    sender: str


def patient_id(tenant: int, attributes: Attributes, study: str) -> str:
    """Id of the FHIR Patient; where there is no PatientID nothing says that two studies have one patient."""
    number = read.text(attributes, "00100020")
    issuer = read.text(attributes, "00100021")
    parts = ("Patient", str(tenant), issuer, number) if number else ("Patient", str(tenant), "", "", study)
    return _derived("\x1f".join(parts))


@lru_cache(maxsize=1024)
def _derived(name: str) -> str:
    return str(uuid.uuid5(NAMESPACE, name))


def rows(sound: Sound, tenant: int, zone: tzinfo) -> Rows:
    """The rows above one instance."""
    header = sound.attributes
    patient = patient_id(tenant, header, sound.study)
    return Rows(
        patient=_patient(header, patient),
        study=_study(sound, patient, zone),
        series=_series(sound),
    )


def _pick(header: Attributes, keys: tuple[str, ...]) -> bytes:
    return orjson.dumps({key: header[key] for key in keys if key in header})


def _patient(header: Attributes, patient: str) -> PatientRow:
    name = read.name(header, "00100010")
    return PatientRow(
        patient=patient,
        issuer=read.text(header, "00100021"),
        patient_id=read.text(header, "00100020"),
        name=name,
        name_folded=read.fold_name(name),
        birth_date=read.text(header, "00100030").replace(".", ""),
        sex=read.text(header, "00100040"),
        attributes=_pick(header, PATIENT_KEYS),
    )


def _study(sound: Sound, patient: str, zone: tzinfo) -> StudyRow:
    header = sound.attributes
    description = read.text(header, "00081030")
    referring = read.name(header, "00080090")
    return StudyRow(
        study=sound.study,
        patient=patient,
        study_date=read.text(header, "00080020").replace(".", ""),
        study_time=read.text(header, "00080030").replace(":", ""),
        started=read.moment(header, "00080020", "00080030", zone),
        accession=read.text(header, "00080050"),
        study_id=read.text(header, "00200010"),
        description=description,
        description_folded=read.fold(description),
        referring=referring,
        referring_folded=read.fold_name(referring),
        attributes=_pick(header, STUDY_KEYS),
    )


def _series(sound: Sound) -> SeriesRow:
    header = sound.attributes
    description = read.text(header, "0008103E")
    return SeriesRow(
        series=sound.series,
        study=sound.study,
        modality=read.text(header, "00080060"),
        series_number=read.integer(header, "00200011"),
        description=description,
        description_folded=read.fold(description),
        body_part=read.text(header, "00180015"),
        laterality=read.text(header, "00200060"),
        step_date=read.text(header, "00400244").replace(".", ""),
        step_time=read.text(header, "00400245"),
        station=read.text(header, "00081010"),
        manufacturer=read.text(header, "00080070"),
        attributes=_pick(header, SERIES_KEYS),
    )


def instance_row(sound: Sound, place: Place) -> InstanceRow:
    """The row of one instance."""
    header = sound.attributes
    if "00080005" in header:
        # What the JSON is in; the file keeps its own.
        header = header | {"00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}}
    frames = read.integer(header, "00280008") or 1
    return InstanceRow(
        instance=sound.sop_instance,
        series=sound.series,
        study=sound.study,
        sop_class=sound.sop_class,
        transfer_syntax=sound.transfer_syntax,
        instance_number=read.integer(header, "00200013"),
        frames=min(max(frames, 1), 2**31 - 1),
        rows=_unsigned_short(header, "00280010"),
        columns=_unsigned_short(header, "00280011"),
        bits_allocated=_unsigned_short(header, "00280100"),
        pack=place.pack,
        pack_offset=place.offset,
        length=place.length,
        digest=place.digest,
        dataset_offset=sound.dataset_offset,
        pixel_offset=sound.pixel.offset if sound.pixel else None,
        pixel_length=sound.pixel.length if sound.pixel else None,
        sender=place.sender,
        metadata=orjson.dumps(header),
    )


def _unsigned_short(header: Attributes, key: str) -> int | None:
    """A US value; None for anything else that a header may hold under its tag."""
    value = read.integer(header, key)
    return value if value is not None and 0 <= value < 1 << 16 else None
