"""The category that the shipped pathway gives a set of findings, without a server.

    python -m benchmarks.category REPORT.dcm TRUTH.json ...     the category of each, and of each of its nodules

The findings become FHIR by the server's own writer, and the pathway's PlanDefinitions answer the report in memory, by
the engine that answers events. So what a network found and what is truly there go the same way, and differ only
where they differ.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydicom

from dicom_sr import codes
from dicom_sr.fhir_elements import Instance
from dicom_sr.findings import Finding, Findings, Measurement, Quality
from dicom_sr.read import read
from dicom_sr.to_fhir import to_fhir
from server.fhir import definitions
from server.search import url
from server.search.find import Search
from server.workflow import pathway
from server.workflow.plan import TopicEvent, apply
from terminology.codings import Coding
from terminology.private_scheme import DESIGNATOR, PART_SOLID, SOLID

Resource = dict[str, Any]

#: The pathway, the topic that its assessment answers, and the codes of what it makes.
FOLDER = "lung_nodule"
TOPIC = "https://hutong.example/fhir/SubscriptionTopic/ai-result-available"
SYSTEM = "https://hutong.example/fhir/CodeSystem/lung-nodule"
STUDY_CODES = frozenset({"lung-rads-category", "c-lung-rads-category", "fleischner-recommendation"})
#: As the server tags what an adapter of its own reported: the pathway answers a report without a nodule, too, then.
_ADAPTER = {"system": "urn:hutong:adapter", "code": "nodule_detection"}
#: Somebody of whom nothing is known that any table asks for; born so that she is 60.
_PATIENT = {"resourceType": "Patient", "id": "p", "gender": "female"}
_GROUND_GLASS = Coding(value="112120", scheme="DCM", meaning="Ground glass opacity")
_DENSITIES = {"solid": SOLID, "part-solid": PART_SOLID, "ground-glass": _GROUND_GLASS}


@dataclass(frozen=True, kw_only=True, slots=True)
class Category:
    """What the pathway says of one study."""

    #: Of the study; None where the guideline gives none.
    code: str | None
    #: The row of the guideline's table that decided; None where no row did.
    row: str | None
    #: (Tracking UID, category, row) of each nodule.
    nodules: tuple[tuple[str, str, str], ...]


def category(findings: Findings, *, earlier: Sequence[Findings] = (), guideline: str = "lung-rads-2022") -> Category:
    """The category of ``findings``; ``earlier`` are the same patient's studies before, lesions by Tracking UID."""
    there = [resource for index, one in enumerate((findings, *earlier)) for resource in _written(one, index)]
    unique = {f"{one['resourceType']}/{one['id']}": one for one in there}
    report = next(one for one in there if one["resourceType"] == "DiagnosticReport")
    report["meta"] = {**report.get("meta", {}), "versionId": "1", "tag": [_ADAPTER]}
    order = {
        "resourceType": "ServiceRequest", "id": "order", "status": "active", "intent": "order",
        "subject": {"reference": "Patient/p"}, "reasonCode": [{"coding": [{"system": SYSTEM, "code": guideline}]}],
    }  # fmt: skip
    report["basedOn"] = [{"reference": "ServiceRequest/order"}]
    born = {**_PATIENT, "birthDate": f"{findings.timestamp.year - 60}-01-01"}
    unique |= {"ServiceRequest/order": order, "Patient/p": born}
    event = TopicEvent(topic=TOPIC, focus=report, recorded=findings.timestamp.astimezone(UTC).isoformat())
    known = pathway.read(FOLDER)
    made = [one for plan in known.answering(TOPIC) for one in apply(plan, event, known, _Memory(unique))]
    return _category([one for one in made if one["resourceType"] == "Observation"], unique)


def truth(document: Resource) -> Findings:
    """The truth beside a phantom (``truth.json``, or the text in its npz) as what an unerring observer would report.

    The size is the volume-equivalent diameter. What is calcified counts as benign calcification, a well circumscribed
    margin as smooth.
    """
    when = datetime.fromisoformat(document.get("study_date", "2024-01-01")).replace(tzinfo=UTC)
    return Findings(
        key=f"truth of {document.get('study_uid', document['seed'])}",
        study_instance_uid=document.get("study_uid", f"2.25.{document['seed']}"),
        frame_of_reference_uid=document.get("frame_of_reference_uid", ""),
        sources=(),
        findings=tuple(_true(index, nodule) for index, nodule in enumerate(document["nodules"], 1)),
        timestamp=when,
        person="The phantom's maker",
        verified=True,
    )


def _true(index: int, nodule: Resource) -> Finding:
    sizes = [
        (codes.DIAMETER, nodule["diameter_mm"], codes.MILLIMETER),
        (codes.VOLUME, nodule["volume_mm3"], codes.CUBIC_MILLIMETER),
    ]
    if nodule.get("solid_diameter_mm") is not None:
        sizes.append((_own("solid-component-diameter"), nodule["solid_diameter_mm"], codes.MILLIMETER))
    return Finding(
        tracking_id=nodule.get("tracking_id", f"Nodule {index}"),
        tracking_uid=nodule.get("tracking_uid", f"2.25.{index}"),
        finding=codes.NODULE,
        center_mm=tuple(nodule["center_mm"]),
        measurements=tuple(Measurement(concept=c, value=value, unit=unit) for c, value, unit in sizes),
        qualities=tuple(Quality(concept=_own("description"), value=word) for word in _words(nodule)),
    )


def _words(nodule: Resource) -> Iterable[Coding]:
    yield _DENSITIES[nodule["density"]]
    if nodule["margin"] == "spiculated":
        yield Coding(value="112136", scheme="DCM", meaning="Spiculated")
    if nodule["margin"] == "circumscribed":
        yield _own("smooth")
    if nodule["attachment"] == "pleura":
        yield _own("juxtapleural")
    if nodule["calcified"]:
        yield _own("benign-calcification")


def _own(code: str) -> Coding:
    return Coding(value=code, scheme=DESIGNATOR, meaning=code)


def _written(findings: Findings, index: int) -> list[Resource]:
    """The study and its report as FHIR."""
    when = findings.timestamp.astimezone(UTC).isoformat()
    study = {
        "resourceType": "ImagingStudy", "id": f"study{index}", "status": "available", "started": when,
        "subject": {"reference": "Patient/p"},
        "series": [{"uid": findings.study_instance_uid, "modality": {"code": "CT"}}],
    }  # fmt: skip
    uid = findings.study_instance_uid
    # Of the report itself only its name matters here.
    sr = Instance(study_instance_uid=uid, series_instance_uid=uid, sop_instance_uid=uid, sop_class_uid=uid)
    made = to_fhir(
        findings,
        subject={"reference": "Patient/p"},
        imaging_study={"reference": f"ImagingStudy/study{index}"},
        sr=sr,
        effective=when,
    )
    return [study, *made]


def _category(made: list[Resource], there: dict[str, Resource]) -> Category:
    nodules: list[tuple[str, str, str]] = []
    study: Resource | None = None
    for one in made:
        code = one["code"]["coding"][0]["code"]
        if code == "nodule-category":
            lesion = there[one["focus"][0]["reference"]]
            nodules.append((_tracking_uid(lesion), _value(one) or "", _row(one) or ""))
        if code in STUDY_CODES:
            study = one
    return Category(code=_value(study or {}), row=_row(study or {}), nodules=tuple(nodules))


def _value(observation: Resource) -> str | None:
    return next((str(one["code"]) for one in observation.get("valueCodeableConcept", {}).get("coding", ())), None)


def _row(observation: Resource) -> str | None:
    for component in observation.get("component", ()):
        if component["code"]["coding"][0]["code"] == "table-row":
            return _value(component)
    return None


def _tracking_uid(lesion: Resource) -> str:
    values = [str(one["value"]) for one in lesion["identifier"]]
    return next((value.removeprefix("urn:oid:") for value in values if value.startswith("urn:oid:")), values[0])


class _Memory:
    """Resources in memory as the sources of a plan's expressions, found by the matching of subscriptions."""

    _search = Search(definitions.load())

    def __init__(self, by_reference: dict[str, Resource]) -> None:
        self._by_reference = by_reference

    def resolve(self, reference: str) -> Resource | None:
        return self._by_reference.get(reference)

    def search(self, query: str) -> list[Resource]:
        kind, _, text = query.partition("?")
        asked = url.parameters(text)
        wanted = [(name, value) for name, value in asked if name != "_sort"]
        resources = [one for one in self._by_reference.values() if one["resourceType"] == kind]
        found = [one for one in resources if self._search.matches(one, kind, wanted)]
        return sorted(found, key=lambda one: str(one.get("effectiveDateTime")), reverse=("_sort", "-date") in asked)


def main(argv: list[str] | None = None) -> int:
    """Prints the category of each file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.category", description="Categories without a server.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--guideline", default="lung-rads-2022")
    options = parser.parse_args(argv)
    for file in options.files:
        json_file = file.suffix == ".json"
        findings = truth(json.loads(file.read_text(encoding="utf-8"))) if json_file else read(pydicom.dcmread(file))
        given = category(findings, guideline=options.guideline)
        print(f"{file}: {given.code or 'none'}, row {given.row or 'none'}")
        for uid, code, row in given.nodules:
            print(f"  {uid}: {code}, row {row}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
