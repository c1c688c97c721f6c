"""Findings as R4 Observations, by the HL7 dicom-sr guide 1.0.0 (written for R5) as far as R4 goes.

A measurement group becomes an Observation of code 125007 whose value is the finding; each of its numbers and coded
descriptions becomes an Observation of its own, reached by hasMember. What the guide says by ImagingSelection is said
by derivedFrom (study, SR, SEG) and, for the position, by components; what it says by Observation.bodyStructure, by the
bodySite extension.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from dicom_sr import codes
from dicom_sr.fhir_elements import (
    AIAST,
    Instance,
    Reference,
    Resource,
    concept,
    instance_reference,
    instant,
    quantity,
    rounded,
    to_reference,
)
from dicom_sr.findings import Finding, Findings, Gone, Measurement
from dicom_sr.identity import resource_id
from dicom_sr.measurement_report import certainty
from dicom_sr.slots import Slots, measured
from terminology.codings import Coding
from terminology.private_scheme import CHANGE

_IMAGING = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/observation-category",
            "code": "imaging",
            "display": "Imaging",
        }
    ]
}
#: https://hl7.org/fhir/R4/extension-bodysite.html
_BODY_SITE = "http://hl7.org/fhir/StructureDefinition/bodySite"
_AXES = ("x, to the patient's left", "y, to the back", "z, to the head")


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What all resources of one report share."""

    findings: Findings
    subject: Reference
    imaging_study: Reference
    sr: Instance
    seg: Instance | None
    device: Resource | None
    #: When the images were made (FHIR dateTime); empty where unknown.
    effective: str
    #: The analysis key that ids follow from: that of the report's first version.
    identity: str
    #: Where numbers and descriptions stand in all versions of the report.
    slots: Slots

    @property
    def status(self) -> str:
        """FHIR ObservationStatus and DiagnosticReportStatus: nothing is final that no person has verified."""
        return "final" if self.findings.verified else "preliminary"

    @property
    def meta(self) -> dict[str, Any]:
        """The label of what an AI asserted; empty for the rest."""
        algorithm = self.findings.algorithm
        return {"meta": {"security": [AIAST]}} if algorithm is not None and algorithm.is_ai else {}


def resource(kind: str, context: Context, *names: str) -> Resource:
    """The start of a resource whose id follows from the analysis key and its names in the report."""
    return {"resourceType": kind, "id": resource_id(kind, context.identity, *names), **context.meta}


def _observation(
    context: Context, code: Coding, *names: str, by_person: bool = False, segmented: bool = False
) -> Resource:
    observation = resource("Observation", context, *names)
    if by_person:
        # The program no longer says this.
        observation.pop("meta", None)
    observation["status"] = context.status
    observation["category"] = [_IMAGING]
    observation["code"] = concept(code)
    observation["subject"] = context.subject
    observation["partOf"] = [context.imaging_study]
    observation["issued"] = instant(context.findings.timestamp)
    if context.effective:
        observation["effectiveDateTime"] = context.effective
    observation["derivedFrom"] = [context.imaging_study, instance_reference(context.sr, "DICOM SR")]
    if context.seg is not None and segmented:
        observation["derivedFrom"].append(instance_reference(context.seg, "DICOM SEG"))
    if context.device is not None and not by_person:
        observation["device"] = to_reference(context.device)
    if context.findings.person is not None:
        observation["performer"] = [{"display": context.findings.person}]
    return observation


def observations(context: Context, finding: Finding, lesion: Resource, again: int = 0) -> list[Resource]:
    """The Observations of one finding: its members first, the measurement group last.

    ``again`` counts the groups that a report has already given to the same lesion.
    """
    name = f"{finding.tracking_uid}/{again}" if again else finding.tracking_uid
    members = list(_members(context, finding, lesion, name))
    author = {"by_person": finding.by_person, "segmented": finding.mask is not None}
    group = _observation(context, codes.MEASUREMENT_GROUP, "group", name, **author)
    _about(group, finding, lesion)
    group["valueCodeableConcept"] = concept(finding.finding)
    if members:
        group["hasMember"] = [to_reference(member) for member in members]
    if finding.center_mm is not None:
        group["component"] = list(_position(context.findings, finding))
    return [*members, group]


def _members(context: Context, finding: Finding, lesion: Resource, name: str) -> Iterator[Resource]:
    numbers = measured(finding)
    author = {"by_person": finding.by_person, "segmented": finding.mask is not None}
    for index, measurement in zip(context.slots.places(finding, numbers), numbers, strict=True):
        names = ("measurement", name, str(index))
        observation = _observation(context, measurement.concept, *names, **author)
        _about(observation, finding, lesion)
        observation["valueQuantity"] = quantity(measurement)
        if measurement.method is not None:
            observation["method"] = concept(measurement.method)
        if components := list(_properties(measurement)):
            observation["component"] = components
        if measurement.derivation is not None:
            observation["code"]["text"] += f" ({measurement.derivation.meaning})"
        yield observation
    for index, quality in zip(context.slots.places(finding, finding.qualities), finding.qualities, strict=True):
        observation = _observation(context, quality.concept, "quality", name, str(index), **author)
        _about(observation, finding, lesion)
        observation["valueCodeableConcept"] = concept(quality.value)
        if quality.method is not None:
            observation["method"] = concept(quality.method)
        if quality.confidence is not None:
            sure = certainty(quality.confidence)
            observation["component"] = [{"code": concept(sure.concept), "valueQuantity": quantity(sure)}]
        yield observation


def _properties(measurement: Measurement) -> Iterator[dict[str, Any]]:
    """Which of several numbers it is, and how far the truth may lie from it."""
    if measurement.derivation is not None:
        yield {"code": concept(codes.DERIVATION), "valueCodeableConcept": concept(measurement.derivation)}
    if (uncertainty := measurement.uncertainty) is not None:
        ends = ((codes.UNCERTAINTY_BELOW, uncertainty.below), (codes.UNCERTAINTY_ABOVE, uncertainty.above))
        for name, value in ends:
            if value is not None:
                yield {"code": concept(name), "valueQuantity": quantity(replace(measurement, value=value))}


def _about(observation: Resource, finding: Finding | Gone, lesion: Resource) -> None:
    """Which lesion, and where."""
    site: dict[str, Any] = {"extension": [{"url": _BODY_SITE, "valueReference": to_reference(lesion)}]}
    if finding.site is not None:
        site |= concept(finding.site)
    observation["focus"] = [to_reference(lesion)]
    observation["bodySite"] = site


def _position(findings: Findings, finding: Finding) -> Iterator[dict[str, Any]]:
    """The centre in DICOM patient coordinates (PS3.3 C.7.6.2.1.1), mm, and the frame of reference they hold in."""
    for axis, value in zip(_AXES, finding.center_mm or (), strict=True):
        code = {"coding": [codes.CENTER.to_fhir()], "text": f"Center, {axis}"}
        unit = codes.MILLIMETER
        yield {
            "code": code,
            "valueQuantity": {
                "value": rounded(value, unit.value),
                "unit": unit.meaning,
                "system": unit.system,
                "code": unit.value,
            },
        }
    if findings.frame_of_reference_uid:
        yield {"code": concept(codes.FRAME_OF_REFERENCE_UID), "valueString": findings.frame_of_reference_uid}


def gone(context: Context, lesion_of_prior: Gone, lesion: Resource) -> Resource:
    """The Observation that a lesion of the prior study is there no more."""
    observation = _observation(context, CHANGE, "gone", lesion_of_prior.tracking_uid)
    _about(observation, lesion_of_prior, lesion)
    observation["valueCodeableConcept"] = concept(codes.ABSENT)
    return observation


def nothing_found(context: Context) -> Resource:
    """The Observation that says so where there is no finding."""
    observation = _observation(context, codes.CAD_SUMMARY, "summary")
    observation["valueCodeableConcept"] = concept(codes.NO_FINDINGS)
    return observation
