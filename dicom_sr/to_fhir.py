"""A Findings as FHIR R4 resources: Device, BodyStructures, Observations, DiagnosticReport and Provenance.

HL7 dicom-sr 1.0.0 for the shape of the Observations, AI Transparency on FHIR 0.1.0 for what marks an AI's work. The
ids follow from the analysis key, a lesion's from its Tracking UID, so that a rerun writes the same resources.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from dicom_sr import codes
from dicom_sr.fhir_elements import (
    AIAST,
    ARTIFICIAL_INTELLIGENCE,
    Instance,
    Reference,
    Resource,
    concept,
    instance_reference,
    instant,
    place_of,
    rounded,
    to_reference,
    uid_identifier,
)
from dicom_sr.findings import Algorithm, Finding, Findings, Gone
from dicom_sr.identity import resource_id
from dicom_sr.observations import Context, gone, nothing_found, observations, resource
from dicom_sr.person_name import in_words
from dicom_sr.slots import Slots

#: https://hl7.org/fhir/R4/codesystem-provenance-agent-type.html
_AUTHOR = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
            "code": "author",
            "display": "Author",
        }
    ]
}
_VERIFIER = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
            "code": "verifier",
            "display": "Verifier",
        }
    ]
}
_RADIOLOGY = {
    "coding": [
        {"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD", "display": "Radiology"},
    ]
}
#: https://hl7.org/fhir/R4/extension-diagnosticreport-replaces.html
_REPLACES = "http://hl7.org/fhir/StructureDefinition/diagnosticReport-replaces"
#: R4 has no other word for a revised preliminary result: Observation.status and DiagnosticReport.status.
_AMENDED = "amended"


def to_fhir(
    findings: Findings,
    *,
    subject: Reference,
    imaging_study: Reference,
    sr: Instance,
    seg: Instance | None = None,
    effective: str = "",
    predecessor: Reference | None = None,
    earlier: Sequence[Findings] = (),
) -> tuple[Resource, ...]:
    """The resources of one report, each after those that it refers to.

    ``effective`` is when the images were made (FHIR dateTime), ``predecessor`` the DiagnosticReport that this one
    supersedes, ``earlier`` the versions of this very report, the first one first, whose ids it keeps. A Device is made
    only where the report names the program's Device UID. Decimals are Decimal, rounded as fhir_elements says; the SR
    keeps every digit. Raises UnwritableFindings.
    """
    device = _device(findings.algorithm) if findings.algorithm and findings.algorithm.device_uid else None
    context = Context(
        findings=findings,
        subject=subject,
        imaging_study=imaging_study,
        sr=sr,
        seg=seg,
        device=device,
        effective=effective,
        identity=earlier[0].key if earlier else findings.key,
        slots=Slots.of((*earlier, findings)),
    )
    named: tuple[Finding | Gone, ...] = (*findings.gone, *findings.findings)
    lesions = {finding.tracking_uid: _body_structure(context, finding) for finding in named}
    found = _found(context, lesions) or [[nothing_found(context)]]
    found += [[gone(context, one, lesions[one.tracking_uid])] for one in findings.gone]
    report = _diagnostic_report(context, [to_reference(group[-1]) for group in found], predecessor)
    results = [*lesions.values(), *(one for group in found for one in group), report]
    return (*([device] if device else []), *results, _provenance(context, results, predecessor))


def _found(context: Context, lesions: dict[str, Resource]) -> list[list[Resource]]:
    """The Observations of each finding; others' reports may have several groups on one lesion."""
    seen: Counter[str] = Counter()
    groups = []
    for finding in context.findings.findings:
        uid = finding.tracking_uid
        groups.append(observations(context, finding, lesions[uid], seen[uid]))
        seen[uid] += 1
    return groups


def amended(superseded: Iterable[Resource]) -> tuple[Resource, ...]:
    """The Observations and DiagnosticReports of a superseded report, as they stand from now on.

    Everything else (lesions outlive reports, provenance is history) and what is amended already is left out.
    """
    return tuple(
        {**one, "status": _AMENDED}
        for one in superseded
        if one["resourceType"] in ("Observation", "DiagnosticReport") and one["status"] in ("preliminary", "final")
    )


def _device(algorithm: Algorithm) -> Resource:
    """One Device for each build of an algorithm: its id changes with UID, version or digest (IHE AIR 6.5.3.1)."""
    names = (algorithm.device_uid, algorithm.name, algorithm.version, algorithm.digest)
    version: list[dict[str, Any]] = []
    if algorithm.version:
        version.append({"type": {"text": "software version"}, "value": algorithm.version})
    if algorithm.digest:
        version.append({"type": {"text": "model digest (SHA-256)"}, "value": algorithm.digest})
    device: Resource = {
        "resourceType": "Device",
        "id": resource_id("Device", *names),
        "identifier": [uid_identifier(algorithm.device_uid)],
        "status": "active",
        "deviceName": [{"name": algorithm.name, "type": "model-name"}],
    }
    if algorithm.manufacturer:
        device["manufacturer"] = algorithm.manufacturer
    if version:
        device["version"] = version
    if algorithm.is_ai:
        device["type"] = {"coding": [ARTIFICIAL_INTELLIGENCE, codes.ARTIFICIAL_INTELLIGENCE.to_fhir()]}
    return device


def _body_structure(context: Context, finding: Finding | Gone) -> Resource:
    """The lesion itself, the same at every time point: its id follows from patient and Tracking UID alone."""
    patient = context.subject.get("reference", "")
    lesion: Resource = {
        "resourceType": "BodyStructure",
        "id": resource_id("BodyStructure", str(patient), finding.tracking_uid),
        **context.meta,
        "identifier": [{"type": concept(codes.TRACKING_UID), **uid_identifier(finding.tracking_uid)}],
        "active": True,
        "morphology": concept(finding.finding),
        "patient": context.subject,
    }
    if finding.tracking_id:
        lesion["identifier"].append({"type": concept(codes.TRACKING_IDENTIFIER), "value": finding.tracking_id})
    if finding.site is not None:
        lesion["location"] = concept(finding.site)
    if finding.laterality is not None:
        lesion["locationQualifier"] = [concept(finding.laterality)]
    return lesion


def _diagnostic_report(context: Context, results: list[Reference], predecessor: Reference | None) -> Resource:
    report = resource("DiagnosticReport", context, "report")
    if predecessor is not None:
        report["extension"] = [{"url": _REPLACES, "valueReference": predecessor}]
    report["identifier"] = [uid_identifier(context.sr.sop_instance_uid)]
    report["status"] = context.status
    report["category"] = [_RADIOLOGY]
    report["code"] = concept(context.findings.procedure or codes.IMAGING_PROCEDURE)
    report["subject"] = context.subject
    if context.effective:
        report["effectiveDateTime"] = context.effective
    report["issued"] = instant(context.findings.timestamp)
    if context.findings.verified and context.findings.person is not None:
        report["resultsInterpreter"] = [{"display": context.findings.person}]
    report["result"] = results
    report["imagingStudy"] = [context.imaging_study]
    report["conclusion"] = conclusion(context.findings)
    return report


def conclusion(findings: Findings) -> str:
    """The report in words: by whom, how far to trust it, and each finding on a line."""
    algorithm, count = findings.algorithm, len(findings.findings)
    parts = [f"{algorithm.name} {algorithm.version}".strip()] if algorithm else []
    parts += [in_words(findings.person)] if findings.person else []
    author = f" by {' and '.join(parts)}" if parts else ""
    found = "No finding" if not count else "1 finding" if count == 1 else f"{count} findings"
    trust = "Verified." if findings.verified else "Not verified by a person."
    lines = [f"{found}{author}. {trust}"]
    lines += [f"{number}. {_sentence(finding)}" for number, finding in enumerate(findings.findings, 1)]
    lines += [f"No longer there: {_named(one)}." for one in findings.gone]
    lines += findings.comments
    return "\n".join(lines)


def _named(finding: Finding | Gone) -> str:
    return ", ".join(part for part in (finding.finding.meaning, place_of(finding)) if part)


def _sentence(finding: Finding) -> str:
    what = _named(finding)
    details = [quality.value.meaning for quality in finding.qualities]
    details += [
        f"{measurement.concept.meaning} {rounded(measurement.value, measurement.unit.value)} {measurement.unit.value}"
        for measurement in finding.measurements
    ]
    if finding.confidence is not None:
        details.append(f"certainty {rounded(finding.confidence * 100, '%')} %")
    return f"{what}: {', '.join(details)}." if details else f"{what}."


def _provenance(context: Context, results: list[Resource], predecessor: Reference | None) -> Resource:
    """Who made these resources, and from what."""
    findings = context.findings
    provenance = resource("Provenance", context, "provenance")
    # Each version of a report has one of its own.
    provenance["id"] = resource_id("Provenance", findings.key, "provenance")
    provenance["target"] = [to_reference(one) for one in results]
    provenance["occurredDateTime"] = instant(findings.timestamp)
    provenance["recorded"] = instant(findings.timestamp)
    if context.meta:
        provenance["reason"] = [{"coding": [AIAST]}]
    provenance["agent"] = _agents(context)
    source = instance_reference(context.sr, "DICOM SR")
    provenance["entity"] = [{"role": "source", "what": context.imaging_study}, {"role": "derivation", "what": source}]
    if predecessor is not None:
        provenance["entity"].append({"role": "revision", "what": predecessor})
    return provenance


def _agents(context: Context) -> list[dict[str, Any]]:
    findings, agents = context.findings, []
    if findings.algorithm is not None:
        name = {"display": f"{findings.algorithm.name} {findings.algorithm.version}".strip() or "a program"}
        who = to_reference(context.device) if context.device is not None else name
        agent: dict[str, Any] = {"type": _AUTHOR, "who": who}
        if findings.algorithm.is_ai:
            agent["role"] = [{"coding": [ARTIFICIAL_INTELLIGENCE]}]
        agents.append(agent)
    if findings.person is not None:
        kind = _VERIFIER if findings.verified else _AUTHOR
        agents.append({"type": kind, "who": {"display": findings.person}})
    return agents or [{"type": _AUTHOR, "who": {"display": "not stated by the report"}}]
