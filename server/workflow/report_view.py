"""A report as people read it: every number as it stands in its FHIR resources, digit for digit."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from dicom_sr import codes
from server.fhir import json_format
from server.repository import Repository
from server.security.access import Access
from server.store.results import Arrival
from server.workflow.result_view import FindingView, KeySlice
from terminology.codings import Coding, from_fhir
from terminology.private_scheme import CHANGE

Resource = dict[str, Any]

#: States of Observations that no longer hold: withdrawn by a person, superseded by a newer report.
_GONE = ("entered-in-error", "amended")


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """One measured value."""

    concept: Coding
    value: Decimal
    #: UCUM.
    unit: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One finding of a report."""

    observation: str
    #: Id of the BodyStructure, the lesion over all studies.
    lesion: str
    finding: Coding
    places: tuple[Coding, ...]
    numbers: tuple[Number, ...]
    qualities: tuple[tuple[Coding, Coding], ...]
    #: Whether a person saw or measured it.
    by_person: bool
    key_slice: KeySlice | None
    #: What plans concluded of this lesion alone.
    consequences: tuple[Resource, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A lesion at one time."""

    #: FHIR dateTime of the images.
    when: str
    #: Id of the DiagnosticReport; empty where none is here.
    report: str
    line: Line
    #: Numbers of the report, and what plans came to from it.
    numbers: tuple[Number, ...]
    #: The study and whose it is; None where the report is not here.
    patient: Arrival | None = None


def shared_out(
    lines: Sequence[Line], consequences: Iterable[Resource]
) -> tuple[tuple[Line, ...], tuple[Resource, ...]]:
    """Each line with what was concluded of its lesion alone; and the rest, what is urgent first."""
    found: dict[str, list[Resource]] = {line.lesion: [] for line in lines}
    rest: list[Resource] = []
    for resource in consequences:
        about = [_id(one) for one in resource.get("focus", ()) if "reference" in one]
        found.get(about[0] if len(about) == 1 else "", rest).append(resource)
    rest.sort(key=lambda resource: resource["resourceType"] != "Flag")
    return tuple(replace(line, consequences=tuple(found[line.lesion])) for line in lines), tuple(rest)


def lines(repository: Repository, access: Access, report: Resource, views: Sequence[FindingView]) -> tuple[Line, ...]:
    """The findings of a DiagnosticReport, in its order."""
    drawn = {view.observation: view for view in views}
    found = []
    for group in _read(repository, access, report.get("result", ())):
        if "focus" not in group:
            continue
        members = _read(repository, access, group.get("hasMember", ()))
        name = f"Observation/{group['id']}"
        view = drawn.get(name)
        places = (view.finding.laterality, view.finding.site) if view else ()
        line = Line(
            observation=name,
            lesion=_id(group["focus"][0]),
            finding=from_fhir(group["valueCodeableConcept"]["coding"][0]),
            places=tuple(place for place in places if place is not None),
            numbers=tuple(_numbers(members)),
            qualities=tuple(_said(one) for one in members if "valueCodeableConcept" in one),
            by_person=view is not None and view.finding.by_person,
            key_slice=view.key_slice if view else None,
        )
        found.append(_of_lesion(repository, access, group, line) if _code(group) == CHANGE else line)
    return tuple(found)


def _of_lesion(repository: Repository, access: Access, observation: Resource, line: Line) -> Line:
    """What became of a lesion that the images no longer show: what it was, and that it is gone."""
    lesion = repository.read(access, "BodyStructure", line.lesion)
    places = [*lesion.get("locationQualifier", ()), *([lesion["location"]] if "location" in lesion else [])]
    return replace(
        line,
        finding=from_fhir(lesion["morphology"]["coding"][0]),
        places=tuple(from_fhir(place["coding"][0]) for place in places),
        qualities=(_said(observation),),
    )


def _said(observation: Resource) -> tuple[Coding, Coding]:
    return _code(observation), from_fhir(observation["valueCodeableConcept"]["coding"][0])


def _code(observation: Resource) -> Coding:
    return from_fhir(observation["code"]["coding"][0])


def history(repository: Repository, access: Access, lesion: str) -> tuple[Point, ...]:
    """A lesion in every report on it, the oldest first; what was withdrawn or superseded is left out."""
    query = [("focus", f"BodyStructure/{lesion}"), *(("status:not", status) for status in _GONE), ("_count", "1000")]
    found = [json_format.parse(one.body) for one in repository.search(access, "Observation", query).matches]
    members = {str(reference["reference"]) for group in found for reference in group.get("hasMember", ())}
    alone = [one for one in found if f"Observation/{one['id']}" not in members]
    groups = [one for one in alone if _code(one) in (codes.MEASUREMENT_GROUP, CHANGE)]
    others = [one for one in alone if one not in groups]
    points = [_point(repository, access, group, others) for group in groups]
    return tuple(sorted(points, key=lambda point: (point.when, point.report)))


def _point(repository: Repository, access: Access, group: Resource, others: Sequence[Resource]) -> Point:
    name, when = f"Observation/{group['id']}", _when(group)
    reports = repository.search(access, "DiagnosticReport", [("result", name), ("_count", "1")]).matches
    (line,) = lines(repository, access, {"result": [{"reference": name}]}, ())
    derived = sorted((one for one in others if _when(one) == when), key=lambda one: str(one["id"]))
    said = {number.concept for number in line.numbers}
    more = [number for number in _numbers(derived) if number.concept not in said]
    return Point(when=when, report=reports[0].id if reports else "", line=line, numbers=(*line.numbers, *more))


def _when(observation: Resource) -> str:
    return str(observation.get("effectiveDateTime") or observation.get("issued", ""))


def _numbers(members: Iterable[Resource]) -> Iterable[Number]:
    for one in members:
        if "valueQuantity" in one:
            quantity = one["valueQuantity"]
            yield Number(
                concept=from_fhir(one["code"]["coding"][0]),
                value=Decimal(quantity["value"]),
                unit=str(quantity.get("code") or quantity.get("unit", "")),
            )


def _read(repository: Repository, access: Access, references: Iterable[Resource]) -> list[Resource]:
    return [repository.read(access, *str(one["reference"]).split("/", 1)) for one in references]


def _id(reference: Resource) -> str:
    return str(reference["reference"]).rpartition("/")[2]
