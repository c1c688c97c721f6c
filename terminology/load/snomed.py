"""SNOMED CT in RF2, its snapshot files: https://confluence.ihtsdotools.org/display/DOCRELFMT

FHIR's view of it: https://hl7.org/fhir/R4/snomedct.html
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from terminology.code_system import Header
from terminology.concept import Concept
from terminology.ecl import MEMBER_OF
from terminology.filters import SNOMED_CT
from terminology.load.release import NotThisFormat, Release, ReleasedMap, ReleasedSystem
from terminology.load.tables import Folder

_IS_A = "116680003"
_FULLY_SPECIFIED_NAME, _SYNONYM = "900000000000003001", "900000000000013009"
_PREFERRED, _DEFINED = "900000000000548007", "900000000000073002"
_INTERNATIONAL = "900000000000207008"
#: Language reference sets and the language that each is of; of others the description says it.
_DIALECTS = {"900000000000509007": "en-US", "900000000000508004": "en-GB"}
_USES = {_FULLY_SPECIFIED_NAME: "Fully specified name", _SYNONYM: "Synonym"}
#: Map reference sets and the code system that each leads to.
_TARGETS = {
    "447562003": "http://hl7.org/fhir/sid/icd-10",
    "446608001": "http://terminology.hl7.org/CodeSystem/icd-o-3",
    "6011000124106": "http://hl7.org/fhir/sid/icd-10-cm",
    "900000000000497000": "http://read.info/ctv3",
}


def read(folder: Folder, *, version: str = "", language: str = "") -> Release:
    """The release in a folder; ``language`` is that of the displays, en-US where none is named."""
    concepts = _Concepts(folder, language or "en-US")
    edition = version or _version(folder)
    header = Header(
        url=SNOMED_CT,
        version=edition,
        name="SNOMED_CT",
        title="SNOMED CT",
        value_set=f"{SNOMED_CT}?fhir_vs",
        language=(language or "en").partition("-")[0],
    )
    return Release(systems=(ReleasedSystem(header, concepts),), maps=tuple(_maps(folder, edition)))


def _named(folder: Folder, kind: str) -> str:
    found = folder.find(rf"sct2_{kind}_Snapshot[^/]*\.txt$")
    if found is None:
        raise NotThisFormat(f"There is no sct2_{kind}_Snapshot file: name the zip of an RF2 release.")
    return found


def _version(folder: Folder) -> str:
    """The edition's module and the date in the names of its files."""
    date = re.search(r"_(\d{8})\.txt$", _named(folder, "Concept"))
    if date is None:
        raise NotThisFormat("The name of the Concept file ends in no date; name the version by --version.")
    name = folder.find(r"ModuleDependencySnapshot[^/]*\.txt$")
    rows = list(_rows(folder, name)) if name else []
    modules = {row["moduleId"] for row in rows} - {row["referencedComponentId"] for row in rows}
    module = modules.pop() if len(modules) == 1 else _INTERNATIONAL
    return f"{SNOMED_CT}/{module}/version/{date[1]}"


def _rows(folder: Folder, name: str) -> Iterator[dict[str, str]]:
    """The active rows of a file."""
    with folder.path(name).open(encoding="utf-8", newline="") as lines:
        columns = lines.readline().lstrip("\ufeff").rstrip("\r\n").split("\t")
        for line in lines:
            row = dict(zip(columns, line.rstrip("\r\n").split("\t"), strict=False))
            if row.get("active") == "1":
                yield row


class _Concepts:
    """The concepts of a release, in the order of their ids."""

    def __init__(self, folder: Folder, language: str) -> None:
        self._language = language
        self._concepts = folder.grouped(_named(folder, "Concept"), "id")
        names = folder.every(r"sct2_(Description|TextDefinition)_Snapshot[^/]*\.txt$")
        self._descriptions = [folder.grouped(name, "conceptId") for name in names]
        self._relationships = folder.grouped(_named(folder, "Relationship"), "sourceId")
        self._ids = [int(line[self._concepts.columns["id"]]) for line in self._concepts.every()]
        self._preferred = _preferred(folder)
        self._members = _members(folder)

    def __len__(self) -> int:
        return len(self._ids)

    def parents(self) -> Sequence[Sequence[int]]:
        """See ``Concepts.parents``."""
        numbers = {id: place for place, id in enumerate(self._ids)}
        found: list[Sequence[int]] = [()] * len(self._ids)
        column = {name: self._relationships.columns[name] for name in ("active", "typeId", "sourceId", "destinationId")}
        for line in self._relationships.every():
            if line[column["active"]] == "1" and line[column["typeId"]] == _IS_A:
                source = numbers.get(int(line[column["sourceId"]]))
                target = numbers.get(int(line[column["destinationId"]]))
                if source is not None and target is not None:
                    found[source] = (*found[source], target)
        return found

    def read(self, start: int = 0) -> Iterator[Concept]:
        """See ``Concepts.read``."""
        columns = self._concepts.columns
        for id in self._ids[start:]:
            (line, *_) = self._concepts.lines(id)
            yield self._concept(id, {name: line[place] for name, place in columns.items()})

    def _concept(self, id: int, row: Mapping[str, str]) -> Concept:
        names = list(self._names(id))
        parents, attributes = self._related(id)
        properties: list[dict[str, Any]] = [
            {"code": "inactive", "valueBoolean": row["active"] != "1"},
            {"code": "sufficientlyDefined", "valueBoolean": row["definitionStatusId"] == _DEFINED},
            {"code": "moduleId", "valueCode": row["moduleId"]},
            {"code": "effectiveTime", "valueString": row["effectiveTime"]},
            *({"code": name, "valueCode": value} for name, value in attributes),
            *({"code": MEMBER_OF, "valueCode": refset} for refset in self._members.get(id, ())),
        ]
        return Concept(
            code=str(id),
            display=self._display(names),
            definition=next((one["term"] for one in names if one["typeId"] not in _USES), ""),
            designations=tuple(_designation(one) for one in names if one["typeId"] in _USES),
            properties=tuple(properties),
            parents=tuple(parents),
        )

    def _names(self, id: int) -> Iterator[dict[str, str]]:
        for file in self._descriptions:
            for line in file.lines(id):
                row = {name: line[place] for name, place in file.columns.items() if place < len(line)}
                if row.get("active") == "1":
                    yield row

    def _related(self, id: int) -> tuple[list[str], list[tuple[str, str]]]:
        column = self._relationships.columns
        parents, attributes = [], []
        for line in self._relationships.lines(id):
            if line[column["active"]] == "1":
                kind, target = line[column["typeId"]], line[column["destinationId"]]
                if kind == _IS_A:
                    parents.append(target)
                else:
                    attributes.append((kind, target))
        return list(dict.fromkeys(parents)), list(dict.fromkeys(attributes))

    def _display(self, names: Sequence[Mapping[str, str]]) -> str:
        """The preferred synonym in the language; else the preferred one of any; else the fully specified name."""
        synonyms = [one for one in names if one["typeId"] == _SYNONYM]
        by_refset = [(refset, ids) for refset, ids in self._preferred.items()]
        own = [ids for refset, ids in by_refset if _DIALECTS.get(refset) == self._language]
        kin = self._language.partition("-")[0]
        orders = (
            (one for one in synonyms for ids in own if int(one["id"]) in ids),
            (
                one
                for one in synonyms
                if one["languageCode"] == kin and any(int(one["id"]) in ids for _, ids in by_refset)
            ),
            (one for one in synonyms if any(int(one["id"]) in ids for _, ids in by_refset)),
            (one for one in names if one["typeId"] == _FULLY_SPECIFIED_NAME),
            iter(names),
        )
        return next((one["term"] for order in orders for one in order), "")


def _designation(row: Mapping[str, str]) -> dict[str, Any]:
    use = {"system": SNOMED_CT, "code": row["typeId"], "display": _USES[row["typeId"]]}
    return {"language": row["languageCode"], "use": use, "value": row["term"]}


def _preferred(folder: Folder) -> dict[str, set[int]]:
    """Language reference set -> the descriptions that are preferred in it."""
    found: dict[str, set[int]] = {}
    for name in folder.every(r"der2_cRefset_Language[^/]*Snapshot[^/]*\.txt$"):
        for row in _rows(folder, name):
            if row["acceptabilityId"] == _PREFERRED:
                found.setdefault(row["refsetId"], set()).add(int(row["referencedComponentId"]))
    return found


def _members(folder: Folder) -> dict[int, list[str]]:
    """Concept -> the simple reference sets that it is a member of."""
    found: dict[int, list[str]] = {}
    for name in folder.every(r"der2_Refset_[^/]*Snapshot[^/]*\.txt$"):
        for row in _rows(folder, name):
            found.setdefault(int(row["referencedComponentId"]), []).append(row["refsetId"])
    return found


def _maps(folder: Folder, version: str) -> Iterator[ReleasedMap]:
    """A concept map for each map reference set: https://hl7.org/fhir/R4/snomedct.html#4.3.1.0.7"""
    for name in folder.every(r"der2_(sRefset_SimpleMap|iisssccRefset_ExtendedMap)[^/]*Snapshot[^/]*\.txt$"):
        for refset in dict.fromkeys(row["refsetId"] for row in _rows(folder, name)):
            group = {"source": SNOMED_CT, "target": _TARGETS.get(refset, f"{SNOMED_CT}?map={refset}")}
            resource = {
                "resourceType": "ConceptMap",
                "url": f"{SNOMED_CT}?fhir_cm={refset}",
                "version": version,
                "name": f"SNOMED_CT_map_{refset}",
                "status": "active",
                "group": [group],
            }
            yield ReleasedMap(resource, lambda name=name, refset=refset: _elements(folder, name, refset))  # type: ignore[misc]


def _elements(folder: Folder, name: str, refset: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for row in _rows(folder, name):
        if row["refsetId"] == refset:
            target: dict[str, Any] = {"equivalence": "equivalent" if "mapRule" not in row else "relatedto"}
            if row.get("mapTarget"):
                target["code"] = row["mapTarget"]
            else:
                target["equivalence"] = "unmatched"
            if row.get("mapAdvice"):
                target["comment"] = row["mapAdvice"]
            yield 0, {"code": row["referencedComponentId"], "target": [target]}
