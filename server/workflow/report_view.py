"""A report as people read it: every number as it stands in its FHIR resources, digit for digit."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from server.fhir import json_format
from server.repository import Repository
from server.security.access import Access
from server.workflow.result_view import FindingView, KeySlice
from terminology.codings import Coding, from_fhir

Resource = dict[str, Any]

_GONE = "entered-in-error"


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A lesion at one time."""

    #: FHIR dateTime of the images.
    when: str
    report: str
    #: StudyInstanceUID; empty where unknown.
    numbers: tuple[Number, ...]


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
        found.append(
            Line(
                observation=name,
                lesion=_id(group["focus"][0]),
                finding=from_fhir(group["valueCodeableConcept"]["coding"][0]),
                places=tuple(place for place in places if place is not None),
                numbers=tuple(_numbers(members)),
                qualities=tuple(
                    (from_fhir(one["code"]["coding"][0]), from_fhir(one["valueCodeableConcept"]["coding"][0]))
                    for one in members
                    if "valueCodeableConcept" in one
                ),
                by_person=view is not None and view.finding.by_person,
                key_slice=view.key_slice if view else None,
            )
        )
    return tuple(found)


def history(repository: Repository, access: Access, lesion: str) -> tuple[Point, ...]:
    """A lesion in every report on it, the oldest first; what was withdrawn is left out."""
    query = [("focus", f"BodyStructure/{lesion}"), ("status:not", _GONE), ("_count", "1000")]
    found = [json_format.parse(one.body) for one in repository.search(access, "Observation", query).matches]
    by_report: dict[tuple[str, str], list[Resource]] = {}
    for one in sorted(found, key=lambda resource: str(resource["id"])):
        if "valueQuantity" in one:
            study = next((_id(source) for source in one.get("partOf", ()) if "reference" in source), "")
            by_report.setdefault((str(one.get("effectiveDateTime") or one.get("issued", "")), study), []).append(one)
    return tuple(
        Point(when=when, report=study, numbers=tuple(_numbers(members)))
        for (when, study), members in sorted(by_report.items())
    )


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
