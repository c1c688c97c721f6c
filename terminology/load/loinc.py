"""A LOINC release: https://loinc.org/kb/loinc-release/, with parts, answer lists and the component hierarchy.

FHIR's view of it: https://hl7.org/fhir/R4/loinc.html
"""

from collections.abc import Iterator, Mapping
from typing import Any

from terminology.code_system import Header
from terminology.concept import Concept
from terminology.implicit import ANSWER_LIST, LOINC
from terminology.load.release import Listed, NotThisFormat, Release, ReleasedSystem
from terminology.load.tables import Folder
from terminology.versions import order

#: Columns of Loinc.csv that are properties of a term as they stand.
_TEXTS = (
    "CLASS", "STATUS", "CLASSTYPE", "ORDER_OBS", "VersionFirstReleased", "VersionLastChanged", "EXAMPLE_UCUM_UNITS",
    "PanelType", "UNITSREQUIRED", "SURVEY_QUEST_TEXT",
)  # fmt: skip
#: The six axes: by a part where the release links one, else by its name.
_AXES = ("COMPONENT", "PROPERTY", "TIME_ASPCT", "SYSTEM", "SCALE_TYP", "METHOD_TYP")
#: Names of a part's type in the links, where they are others.
_PART_TYPES = {"TIME": "TIME_ASPCT", "SCALE": "SCALE_TYP", "METHOD": "METHOD_TYP"}
_DEPRECATED = {"code": "inactive", "valueBoolean": True}


def read(folder: Folder, *, version: str = "", language: str = "") -> Release:
    """The release in a folder; with a language also the names of its linguistic variant."""
    name = folder.find(r"(^|/)Loinc\.csv$")
    if name is None:
        raise NotThisFormat("There is no LoincTable/Loinc.csv: name the zip of a LOINC release.")
    concepts = Listed.of(_Reader(folder, name, language).concepts())
    if not version:
        changed = (str(value) for one in concepts.concepts for value in one.values("VersionLastChanged"))
        version = max(changed, key=order, default="")
    header = Header(
        url=LOINC, version=version, name="LOINC", case_sensitive=False, value_set=f"{LOINC}/vs", language="en"
    )
    return Release(systems=(ReleasedSystem(header, concepts),))


class _Reader:
    def __init__(self, folder: Folder, name: str, language: str) -> None:
        self._folder = folder
        self._name = name
        self._language = language
        self._parents: dict[str, list[str]] = {}
        self._groups: dict[str, str] = {}

    def _rows(self, pattern: str) -> Iterator[dict[str, str]]:
        name = self._folder.find(pattern)
        return iter(()) if name is None else self._folder.rows(name)

    def concepts(self) -> Iterator[Concept]:
        """Terms, parts, groups of the hierarchy, answer lists, answers."""
        for row in self._rows(r"(ComponentHierarchyBySystem|MultiAxialHierarchy)\.csv$"):
            self._groups.setdefault(row["CODE"], row.get("CODE_TEXT", ""))
            if row.get("IMMEDIATE_PARENT"):
                self._parents.setdefault(row["CODE"], []).append(row["IMMEDIATE_PARENT"])
        yield from self._terms()
        yield from self._parts()
        for code, text in self._groups.items():
            yield Concept(code=code, display=text, parents=self._over(code))
        yield from self._answers()

    def _over(self, code: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._parents.get(code, ())))

    def _terms(self) -> Iterator[Concept]:
        axes, lists, variants = self._axes(), self._lists(), dict(self._variants())
        for row in self._folder.rows(self._name):
            code = row["LOINC_NUM"]
            parts = axes.get(code, {})
            properties: list[dict[str, Any]] = [
                parts.get(axis) or {"code": axis, "valueString": row[axis]} for axis in _AXES if row.get(axis)
            ]
            properties += [{"code": name, "valueString": row[name]} for name in _TEXTS if row.get(name)]
            properties += [{"code": "answer-list", "valueCode": one} for one in lists.get(code, ())]
            properties += [_DEPRECATED] if row.get("STATUS") == "DEPRECATED" else []
            yield Concept(
                code=code,
                display=row.get("LONG_COMMON_NAME") or row.get("SHORTNAME", ""),
                definition=row.get("DefinitionDescription", ""),
                designations=(*_names(row), *variants.get(code, ())),
                properties=tuple(properties),
                parents=self._over(code),
            )

    def _axes(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Term -> axis -> property whose value is a part."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for row in self._rows(r"LoincPartLink_Primary\.csv$"):
            axis = _PART_TYPES.get(row["PartTypeName"], row["PartTypeName"])
            if axis in _AXES:
                part = {"system": LOINC, "code": row["PartNumber"], "display": row["PartName"]}
                found.setdefault(row["LoincNumber"], {})[axis] = {"code": axis, "valueCoding": part}
        return found

    def _lists(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for row in self._rows(r"LoincAnswerListLink\.csv$"):
            found.setdefault(row["LoincNumber"], []).append(row["AnswerListId"])
        return {code: list(dict.fromkeys(ids)) for code, ids in found.items()}

    def _variants(self) -> Iterator[tuple[str, tuple[Mapping[str, Any], ...]]]:
        """The names in the language that was asked for, as far as the variant has whole names."""
        country = self._language.replace("-", "")
        if not country:
            return
        for row in self._rows(rf"LinguisticVariants/{country}\d*LinguisticVariant\.csv$"):
            name = row.get("LinguisticVariantDisplayName") or row.get("LONG_COMMON_NAME") or row.get("SHORTNAME")
            axes = [row[axis] for axis in _AXES if row.get(axis)]
            text = name or ":".join(axes)
            if text:
                yield row["LOINC_NUM"], ({"language": self._language, "value": text},)

    def _parts(self) -> Iterator[Concept]:
        for row in self._rows(r"(^|/)Part\.csv$"):
            properties = [{"code": "type", "valueString": row.get("PartTypeName", "")}]
            status = row.get("Status", "")
            properties += [{"code": "STATUS", "valueString": status}] if status else []
            name = row.get("PartDisplayName") or row.get("PartName", "")
            other = row.get("PartName", "")
            yield Concept(
                code=row["PartNumber"],
                display=name,
                designations=({"language": "en", "value": other},) if other not in ("", name) else (),
                properties=(*properties, *((_DEPRECATED,) if status in ("DEPRECATED", "INACTIVE") else ())),
                parents=self._over(row["PartNumber"]),
            )

    def _answers(self) -> Iterator[Concept]:
        """Answer lists, then each answer once with all lists that it is in."""
        lists: dict[str, str] = {}
        answers: dict[str, tuple[str, list[str]]] = {}
        for row in self._rows(r"(^|/)AnswerList\.csv$"):
            lists.setdefault(row["AnswerListId"], row.get("AnswerListName", ""))
            if row.get("AnswerStringId"):
                text = row.get("DisplayText", "")
                answers.setdefault(row["AnswerStringId"], (text, []))[1].append(row["AnswerListId"])
        for code, name in lists.items():
            yield Concept(code=code, display=name)
        for code, (text, ids) in answers.items():
            held = tuple({"code": ANSWER_LIST, "valueCode": id} for id in dict.fromkeys(ids))
            yield Concept(code=code, display=text, properties=held)


def _names(row: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for column in ("SHORTNAME", "DisplayName", "CONSUMER_NAME"):
        if row.get(column) and row[column] != row.get("LONG_COMMON_NAME"):
            yield {"language": "en", "use": {"system": LOINC, "code": column}, "value": row[column]}
