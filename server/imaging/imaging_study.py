"""Instances summed up as a FHIR ImagingStudy (https://hl7.org/fhir/R4/imagingstudy.html) and its Patient.

Ids derive from the Study Instance UID and from issuer and PatientID, so whoever writes first writes the same resource.
"""

import uuid
from datetime import UTC
from typing import Any

import orjson

from server.errors import Gone, NotFound
from server.imaging import attributes as read
from server.imaging import body_part, patient
from server.imaging.dataset import Attributes
from server.imaging.index import NAMESPACE
from server.repository import Repository, Transaction, Written
from server.security.access import Access
from server.store import study_summary
from server.store.study_summary import Summary, SummarySeries
from terminology.codings import SYSTEMS, Coding

Resource = dict[str, Any]

_DCM = SYSTEMS["DCM"]
_ACCESSION = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN", "display": "Accession ID"}
_WADO = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
#: Marks a study that is here only because it was fetched as a prior of another: it wakes no adapter.
PRIOR = {"system": "urn:hutong:study", "code": "prior"}
#: CID 244 by Laterality (0020,0060).
_LATERALITY = {
    "L": Coding(value="7771000", scheme="SCT", meaning="Left"),
    "R": Coding(value="24028007", scheme="SCT", meaning="Right"),
    "B": Coding(value="51440002", scheme="SCT", meaning="Right and left"),
}
#: Modalities of instances that say something about images: our results and others'. They never wake an adapter.
RESULT_MODALITIES = frozenset(
    {"SR", "SEG", "PR", "KO", "DOC", "REG", "FID", "RWV", "ANN", "RTSTRUCT", "RTPLAN", "RTRECORD"}
)


def study_id(tenant: int, study_instance_uid: str) -> str:
    """Id of the ImagingStudy of a study."""
    return str(uuid.uuid5(NAMESPACE, "\x1f".join(("ImagingStudy", str(tenant), study_instance_uid))))


def is_result(modality: str) -> bool:
    """Whether a series of this modality holds results, not images to be read."""
    return modality in RESULT_MODALITIES


class ImagingStudies:
    """Keeps ImagingStudy resources in step with what is stored."""

    def __init__(self, repository: Repository, *, wado_url: str = "") -> None:
        """``wado_url`` is where clients reach DICOMweb; empty leaves the endpoint out."""
        self._repository = repository
        self._wado_url = wado_url

    def update(self, access: Access, study_instance_uid: str) -> Written:
        """Writes the study's ImagingStudy, and its Patient if there is none; raises NotFound.

        The same content again is no new version. A Patient that exists is left to whoever keeps it.
        """
        with self._repository.transaction(access) as tx:
            tx.uow.lock("imaging-study", access.tenant, study_instance_uid)
            found = study_summary.summary(tx.uow, access.tenant, study_instance_uid)
            if found is None or not found.series:
                raise NotFound("No instance of this study is stored.", expression="StudyInstanceUID")
            if not _exists(tx, "Patient", found.patient):
                tx.update(patient.build(found.patient, orjson.loads(found.patient_attributes)))
            return tx.update(build(found, study_id(access.tenant, study_instance_uid), self._wado_url))

    def withdraw(self, access: Access, study_instance_uid: str) -> None:
        """Deletes the ImagingStudy of a study of which nothing is stored any more; reports about it stay."""
        with self._repository.transaction(access) as tx:
            tx.uow.lock("imaging-study", access.tenant, study_instance_uid)
            if study_summary.summary(tx.uow, access.tenant, study_instance_uid) is None:
                tx.delete("ImagingStudy", study_id(access.tenant, study_instance_uid))


def _exists(tx: Transaction, resource_type: str, resource_id: str) -> bool:
    try:
        tx.read(resource_type, resource_id)
    except (NotFound, Gone):
        return False
    return True


def build(found: Summary, resource_id: str, wado_url: str) -> Resource:
    """The ImagingStudy of a summary."""
    header: Attributes = orjson.loads(found.attributes)
    resource: Resource = {
        "resourceType": "ImagingStudy",
        "id": resource_id,
        "identifier": _identifiers(found, header),
        "status": "available",
        "modality": [{"system": _DCM, "code": modality} for modality in found.modalities],
        "subject": {"reference": f"Patient/{found.patient}"},
        "numberOfSeries": len(found.series),
        "numberOfInstances": sum(len(series.instances) for series in found.series),
        "series": [_series(series) for series in found.series],
    }
    if found.prior:
        resource["meta"] = {"tag": [PRIOR]}
    if wado_url:
        resource["contained"] = [_endpoint(wado_url)]
        resource["endpoint"] = [{"reference": "#wado"}]
    _describe(resource, found, header)
    return {key: value for key, value in resource.items() if value != []}


def _describe(resource: Resource, found: Summary, header: Attributes) -> None:
    """What a header may leave out."""
    if found.started is not None:
        moment = found.started.astimezone(UTC)
        resource["started"] = moment.isoformat().replace("+00:00", "Z") if found.has_time else _local_day(header)
    referrer = read.name(header, "00080090").split("=")[0]
    if referrer.strip("^ "):
        resource["referrer"] = {"display": " ".join(part for part in referrer.split("^") if part.strip())}
    description = read.text(header, "00081030")
    if description:
        resource["description"] = description
    codes = [code for item in read.items(header, "00081032") if (code := _code(item))]
    if codes:
        resource["procedureCode"] = [{"coding": [code]} for code in codes]


def _local_day(header: Attributes) -> str:
    day = read.day(header, "00080020")
    return day.isoformat() if day else ""


def _code(item: Attributes) -> Resource | None:
    """A Coding from a code sequence item (PS3.3 table 8.8-1)."""
    value, scheme, meaning = (read.text(item, key) for key in ("00080100", "00080102", "00080104"))
    if not value or not scheme:
        return None
    return Coding(value=value, scheme=scheme, meaning=meaning or value).to_fhir()


def _identifiers(found: Summary, header: Attributes) -> list[Resource]:
    identifiers: list[Resource] = [{"system": "urn:dicom:uid", "value": f"urn:oid:{found.study}"}]
    accession = read.text(header, "00080050")
    if accession:
        identifiers.append({"type": {"coding": [_ACCESSION]}, "value": accession})
    return identifiers


def _series(series: SummarySeries) -> Resource:
    header: Attributes = orjson.loads(series.attributes)
    resource: Resource = {
        "uid": series.series,
        # 1..1 in FHIR, type 1 in DICOM; OT is what DICOM has for a modality that is none of the defined ones.
        "modality": {"system": _DCM, "code": series.modality or "OT"},
        "numberOfInstances": len(series.instances),
        "instance": [_instance(i.instance, i.sop_class, i.instance_number) for i in series.instances],
    }
    if series.series_number is not None and 0 <= series.series_number < 1 << 31:
        resource["number"] = series.series_number
    description = read.text(header, "0008103E")
    if description:
        resource["description"] = description
    site = body_part.coding_of(read.text(header, "00180015"))
    if site is not None:
        resource["bodySite"] = site.to_fhir()
    side = _LATERALITY.get(read.text(header, "00200060").upper())
    if side is not None:
        resource["laterality"] = side.to_fhir()
    return resource


def _instance(uid: str, sop_class: str, number: int | None) -> Resource:
    instance: Resource = {"uid": uid, "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{sop_class}"}}
    if number is not None and 0 <= number < 1 << 31:
        instance["number"] = number
    return instance


def _endpoint(url: str) -> Resource:
    return {
        "resourceType": "Endpoint",
        "id": "wado",
        "status": "active",
        "connectionType": {"system": _WADO, "code": "dicom-wado-rs"},
        "payloadType": [{"text": "DICOM"}],
        "payloadMimeType": ["application/dicom"],
        "address": url,
    }
