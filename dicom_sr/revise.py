"""A report that a person went over, as new versions of the FHIR resources that it was before.

What stands keeps its ids, so that the history of each resource tells what was said when; what is gone is
entered-in-error, and never deleted. R4's states of a result: https://hl7.org/fhir/R4/valueset-observation-status.html
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from dicom_sr.fhir_elements import Instance, Reference, Resource, to_reference
from dicom_sr.findings import Finding, Findings
from dicom_sr.identity import resource_id
from dicom_sr.to_fhir import to_fhir

#: The resource as it stands now, None where there is none.
Current = Callable[[str, str], Resource | None]

_WITHDRAWN = "entered-in-error"
#: What may change without the result being another one.
_ASIDE = ("id", "meta", "status", "issued", "derivedFrom", "performer", "identifier", "presentedForm", "extension")


def report_id(first: Findings) -> str:
    """Id of the DiagnosticReport of all versions of a report, from its first."""
    return resource_id("DiagnosticReport", first.key, "report")


def inherited(findings: Findings, before: Findings) -> Findings:
    """A new version with what it doesn't say itself, and with what it changed marked as a person's work.

    A program's report stays one when a person goes over it with a tool that leaves the program out.
    """
    known = {finding.tracking_uid: finding for finding in before.findings}
    algorithm = findings.algorithm or before.algorithm
    found = tuple(
        _inherited(
            finding, known.get(finding.tracking_uid), person=findings.person is not None and algorithm is not None
        )
        for finding in findings.findings
    )
    return replace(
        findings,
        findings=found,
        algorithm=algorithm,
        procedure=findings.procedure or before.procedure,
        frame_of_reference_uid=findings.frame_of_reference_uid or before.frame_of_reference_uid,
        sources=findings.sources if len(findings.sources) >= len(before.sources) else before.sources,
    )


def _inherited(finding: Finding, before: Finding | None, *, person: bool) -> Finding:
    if before is None:
        return replace(finding, by_person=finding.by_person or person)
    same = says_the_same(finding, before)
    return replace(
        finding,
        confidence=before.confidence if finding.confidence is None else finding.confidence,
        mask=before.mask if finding.mask is None and _extent(finding) == _extent(before) else finding.mask,
        by_person=finding.by_person or before.by_person or (person and not same),
    )


def says_the_same(one: Finding, other: Finding) -> bool:
    """Whether two versions of a lesion have the same size, kind and place, whatever draws it."""
    return _said(one) == _said(other)


def _extent(finding: Finding) -> tuple[Any, ...]:
    """Where a lesion lies and how large it is: what its segment shows."""
    center = finding.center_mm and tuple(round(value, 1) for value in finding.center_mm)
    lengths = sorted(
        (m.concept.value, round(m.value, 3)) for m in finding.measurements if m.unit.value in ("mm", "mm3")
    )
    return center, lengths


def _said(finding: Finding) -> tuple[Any, ...]:
    numbers = sorted(
        (m.concept.scheme, m.concept.value, str(m.derivation), m.unit.value, round(m.value, 3))
        for m in finding.measurements
    )
    words = sorted((q.concept.scheme, q.concept.value, q.value.scheme, q.value.value) for q in finding.qualities)
    center = finding.center_mm and tuple(round(value, 1) for value in finding.center_mm)
    return finding.finding, finding.site, finding.laterality, center, numbers, words


def revised(
    findings: Findings,
    earlier: Sequence[Findings],
    current: Current,
    *,
    subject: Reference,
    imaging_study: Reference,
    sr: Instance,
    seg: Instance | None = None,
    effective: str = "",
) -> tuple[Resource, ...]:
    """The resources that a new version of a report writes; ``earlier`` are its versions so far, the first one first.

    Preliminary results that a person verifies become final, final ones that change become corrected.
    """
    made = to_fhir(
        findings, subject=subject, imaging_study=imaging_study, sr=sr, seg=seg, effective=effective, earlier=earlier
    )
    report = next(one for one in made if one["resourceType"] == "DiagnosticReport")
    before = current("DiagnosticReport", report["id"])
    withdrawn = [] if before is None else list(_withdrawn(before, {one["id"] for one in made}, current))
    for resource in made:
        known = current(resource["resourceType"], resource["id"]) if "status" in resource else None
        if known is not None and resource["resourceType"] in ("Observation", "DiagnosticReport"):
            resource["status"] = _status(resource, known)
        if resource["resourceType"] == "Provenance":
            resource["target"] += [to_reference(one) for one in withdrawn]
            resource["entity"].append({"role": "revision", "what": _version(before)} if before else {})
            resource["entity"] = [entity for entity in resource["entity"] if entity]
    if before is not None:
        _keep(report, before)
    return (*made, *withdrawn)


def _keep(report: Resource, before: Resource) -> None:
    """The labels and the documents of the versions before: whoever knows the report by one of them finds it."""
    meta = before.get("meta", {})
    report["meta"] = {**report.get("meta", {}), **{name: meta[name] for name in ("tag", "security") if name in meta}}
    names = report["identifier"]
    report["identifier"] = [*names, *(one for one in before.get("identifier", ()) if one not in names)]
    if "extension" in before:
        report["extension"] = before["extension"]


def _version(resource: Resource) -> Reference:
    return {"reference": f"{to_reference(resource)['reference']}/_history/{resource['meta']['versionId']}"}


def _withdrawn(report: Resource, standing: set[str], current: Current) -> Iterable[Resource]:
    """The Observations of the version before that the new one no longer has."""
    for reference in report.get("result", ()):
        group = _referred(reference, current)
        if group is None:
            continue
        members = [_referred(one, current) for one in group.get("hasMember", ())]
        for one in (group, *members):
            if one is not None and one["id"] not in standing and one["status"] != _WITHDRAWN:
                yield {**one, "status": _WITHDRAWN}


def _referred(reference: Reference, current: Current) -> Resource | None:
    kind, _, id = str(reference["reference"]).partition("/")
    return current(kind, id)


def _status(new: Resource, known: Resource) -> str:
    """The state of a result that was there before."""
    if new["status"] != "final" or known["status"] == "preliminary":
        return str(new["status"])
    if known["status"] == _WITHDRAWN:
        return "corrected"
    return str(known["status"]) if _content(new) == _content(known) else "corrected"


def _content(resource: Resource) -> Resource:
    return {name: value for name, value in resource.items() if name not in _ASIDE}
