"""A report as the server writes it, from a case's few words: patient, study, nodules and what was before."""

from datetime import datetime
from typing import Any

from dicom_sr import codes
from dicom_sr.fhir_elements import Instance
from dicom_sr.findings import Algorithm, Finding, Findings, Measurement, Quality
from dicom_sr.to_fhir import to_fhir
from terminology import private_scheme
from terminology.codings import Coding

Resource = dict[str, Any]

SYSTEM = "https://hutong.example/fhir/CodeSystem/lung-nodule"
SEEN = "2026-01-31T10:00:00Z"
_UNIT_INTERVAL = Coding(value="1", scheme="UCUM", meaning="no units")
_DCM_WORDS = {"ground-glass": "112120", "spiculated": "112136", "popcorn": "129749001"}
_LOBES = {
    "upper": Coding(value="45653009", scheme="SCT", meaning="Upper lobe of lung"),
    "middle": Coding(value="72481006", scheme="SCT", meaning="Middle lobe of right lung"),
    "lower": Coding(value="90572001", scheme="SCT", meaning="Lower lobe of lung"),
}


def _own(code: str) -> Coding:
    return Coding(value=code, scheme="99HUTONG", meaning=code)


_MEASURED = {
    "diameter": (codes.DIAMETER, codes.MILLIMETER),
    "long": (codes.LONG_AXIS, codes.MILLIMETER),
    "short": (codes.SHORT_AXIS, codes.MILLIMETER),
    "volume": (codes.VOLUME, codes.CUBIC_MILLIMETER),
    "part": (_own("solid-component-diameter"), codes.MILLIMETER),
    "partVolume": (_own("solid-component-volume"), codes.CUBIC_MILLIMETER),
    # What a comparison of two studies says.
    "volumeChange": (private_scheme.VOLUME_CHANGE, codes.PERCENT),
    "doublingTime": (private_scheme.DOUBLING_TIME, codes.DAY),
    "probability": (Coding(value="111047", scheme="DCM", meaning="Probability of cancer"), codes.PERCENT),
    "probabilityAsFraction": (Coding(value="111047", scheme="DCM", meaning="Probability of cancer"), _UNIT_INTERVAL),
}


def _finding(number: int, words: dict[str, Any]) -> Finding:
    qualities = [*words.get("words", ()), *([words["density"]] if "density" in words else [])]
    return Finding(
        tracking_id=f"nodule {number}",
        tracking_uid=f"2.25.{1000 + number}",
        finding=codes.NODULE,
        site=_LOBES.get(words.get("lobe", "")),
        measurements=tuple(
            Measurement(concept=concept, value=words[name], unit=unit)
            for name, (concept, unit) in _MEASURED.items()
            if name in words
        ),
        qualities=tuple(
            Quality(concept=_own("description"), value=_own(_DCM_WORDS.get(word, word))) for word in qualities
        ),
    )


def _reported(key: str, lesions: list[dict[str, Any]], when: str) -> tuple[Resource, ...]:
    """The study and what a report on it says."""
    study = {
        "resourceType": "ImagingStudy",
        "id": f"study-{key}",
        "status": "available",
        "subject": {"reference": "Patient/p"},
        "started": when,
        "series": [{"uid": "1.2.1", "modality": {"system": "urn:x", "code": "CT"}}],
    }
    findings = Findings(
        key=key,
        study_instance_uid="2.25.1",
        frame_of_reference_uid="2.25.2",
        sources=(),
        findings=tuple(_finding(words.get("nodule", n), words) for n, words in enumerate(lesions, 1)),
        timestamp=datetime.fromisoformat(when),
        algorithm=Algorithm(name="n", version="1", manufacturer="m", device_uid="2.25.3"),
    )
    instance = Instance(
        study_instance_uid="2.25.1", series_instance_uid="2.25.4", sop_instance_uid="2.25.5", sop_class_uid="2.25.6"
    )
    reference = {"reference": f"ImagingStudy/{study['id']}"}
    made = to_fhir(findings, subject={"reference": "Patient/p"}, imaging_study=reference, sr=instance, effective=when)
    return (study, *made)


def _report(resources: tuple[Resource, ...]) -> Resource:
    return next(one for one in resources if one["resourceType"] == "DiagnosticReport")


def _earlier(number: int, words: dict[str, Any]) -> list[Resource]:
    """One earlier study, and the category that its nodule had."""
    made = list(_reported(f"before{number}", [words], words["date"]))
    if "category" in words:
        group = next(one for one in made if one.get("valueCodeableConcept", {}).get("text") == "Nodule")
        system = f"https://hutong.example/fhir/CodeSystem/{words.get('guideline', 'lung-rads-2022')}"
        made.append(
            {
                "resourceType": "Observation",
                "id": f"category{number}",
                "status": "preliminary",
                "code": {"coding": [{"system": SYSTEM, "code": "nodule-category"}]},
                "subject": {"reference": "Patient/p"},
                "focus": group["focus"],
                "effectiveDateTime": words["date"],
                "valueCodeableConcept": {"coding": [{"system": system, "code": words["category"]}]},
            }
        )
    return made


def _fact(code: str, value: Any) -> Resource:
    answer = {"valueBoolean": value} if isinstance(value, bool) else {"valueCodeableConcept": _concept(str(value))}
    return {
        "resourceType": "Observation",
        "id": f"fact-{code}",
        "status": "final",
        "code": _concept(code),
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2026-01-01",
        **answer,
    }


def _concept(code: str) -> Resource:
    return {"coding": [{"system": SYSTEM, "code": code}]}


def given(case: dict[str, Any]) -> tuple[Resource, list[Resource]]:
    """The report that the event is about, and everything else that there is."""
    patient = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1964-01-31"}
    patient |= case.get("patient", {})
    now = _reported(case.get("key", "now"), case.get("lesions", []), case.get("seen", SEEN))
    report = _report(now)
    report["meta"] = {
        **report.get("meta", {}),
        "versionId": "1",
        "tag": [{"system": "urn:hutong:adapter", "code": "nodule_detection"}],
    }
    if "statements" in case:
        report["conclusionCode"] = [_concept(code) for code in case["statements"]]
    others = [patient, *(one for one in now if one is not report)]
    for number, words in enumerate(case.get("before", ()), 1):
        others += _earlier(number, {"nodule": 1, **words})
    others += [_fact(code, value) for code, value in case.get("facts", {}).items()]
    others += case.get("resources", [])
    if "context" in case:
        order = {
            "resourceType": "ServiceRequest", "id": "order", "status": "active", "intent": "order",
            "subject": {"reference": "Patient/p"}, "reasonCode": [_concept(case["context"])],
            "requester": {"reference": "Practitioner/dr"},
        }  # fmt: skip
        report["basedOn"] = [{"reference": "ServiceRequest/order"}]
        others += [order, {"resourceType": "Practitioner", "id": "dr"}]
    # One lesion has one BodyStructure and one device, whichever report names it.
    unique = {f"{one['resourceType']}/{one['id']}": one for one in others}
    return report, list(unique.values())
