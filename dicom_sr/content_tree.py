"""Reading SR content items as they come: every access says where it failed, and nothing is taken for granted.

PS3.3 C.17.3. Codes of the retired SNOMED-RT schemes are given as the SNOMED CT codes that replaced them (PS3.16
chapter 8, pydicom's table), so that old and new reports read alike.
"""

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pydicom.errors import BytesLengthException
from pydicom.sr._snomed_dict import mapping as _SNOMED
from pydicom.valuerep import DSfloat

from dicom_sr.errors import UnreadableReport
from terminology.codings import Coding

#: What pydicom raises where an element's bytes are not what its VR says.
_UNSOUND = (
    BytesLengthException,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    NotImplementedError,
    EOFError,
    OSError,
    RecursionError,
    struct.error,
)
#: Control characters that neither FHIR's strings nor HTML may hold: https://hl7.org/fhir/R4/datatypes.html#string.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
#: SRT and its two aliases: PS3.16 Table 8-1.
_RETIRED = ("SRT", "SNM3", "99SDM")


def value(dataset: Dataset, keyword: str, place: str) -> Any:
    """An attribute's value, None where it is absent or empty; raises UnreadableReport where it is unsound."""
    try:
        found = dataset.get(keyword)
    except _UNSOUND as error:
        raise UnreadableReport("a value that its VR does not allow", place=f"{place}{keyword}") from error
    return None if found is None or found == "" else found


def text(dataset: Dataset, keyword: str, place: str) -> str:
    """An attribute's value as text; empty where absent."""
    found = value(dataset, keyword, place)
    return "" if found is None else _CONTROL.sub(" ", str(found)).strip()


def items(dataset: Dataset, keyword: str, place: str) -> list[Dataset]:
    """The items of a sequence; empty where absent."""
    found = value(dataset, keyword, place)
    if found is None:
        return []
    if isinstance(found, str | bytes | int | float):
        raise UnreadableReport("no sequence", place=f"{place}{keyword}")
    return [item for item in found if isinstance(item, Dataset)]


def coding(dataset: Dataset, keyword: str, place: str) -> Coding | None:
    """The first coding of a code sequence; None where there is none."""
    for item in items(dataset, keyword, place):
        scheme = text(item, "CodingSchemeDesignator", place)
        code = next((t for k in ("CodeValue", "LongCodeValue", "URNCodeValue") if (t := text(item, k, place))), "")
        if not code:
            continue
        meaning = text(item, "CodeMeaning", place) or code
        if scheme in _RETIRED and code in _SNOMED["SRT"]:
            scheme, code = "SCT", _SNOMED["SRT"][code]
        return Coding(value=code, scheme=scheme, meaning=meaning)
    return None


def _finite(one: Any) -> float:
    found = float(one)
    if not math.isfinite(found):
        raise ValueError("not a finite number")
    return found


def number(dataset: Dataset, keyword: str, place: str) -> float | None:
    """The first number of an attribute; None where absent."""
    found = value(dataset, keyword, place)
    if found is None:
        return None
    try:
        single = found if isinstance(found, int | float | DSfloat | str) else next(iter(found), None)
        return None if single is None else _finite(single)
    except _UNSOUND as error:
        raise UnreadableReport("no number", place=f"{place}{keyword}") from error


def shortest(single: float) -> float:
    """The double that has the shortest decimal of a single: what was meant by a value that went through FL."""
    packed = struct.pack("<f", single)
    for digits in range(6, 10):
        candidate = float(f"{single:.{digits}g}")
        if struct.pack("<f", candidate) == packed:
            return candidate
    return single


def numbers(dataset: Dataset, keyword: str, place: str) -> list[float]:
    """All numbers of an FL attribute."""
    found = value(dataset, keyword, place)
    if found is None:
        return []
    try:
        several = [found] if isinstance(found, int | float) else list(found)
        return [shortest(_finite(one)) for one in several]
    except _UNSOUND as error:
        raise UnreadableReport("no numbers", place=f"{place}{keyword}") from error


@dataclass(frozen=True, kw_only=True)
class Node:
    """One content item and where it stands."""

    dataset: Dataset
    #: Such as "ContentSequence[4].ContentSequence[0]." with the dot that its attributes follow.
    place: str
    relationship: str
    value_type: str
    concept: Coding | None

    def children(self) -> list["Node"]:
        """The items below."""
        return list(children(self.dataset, self.place))

    def named(self, concept: Coding, value_type: str = "") -> Iterator["Node"]:
        """The children of that concept."""
        for child in self.children():
            if child.concept == concept and value_type in ("", child.value_type):
                yield child

    def code(self) -> Coding | None:
        """The value of a CODE item."""
        return coding(self.dataset, "ConceptCodeSequence", self.place)

    def text(self) -> str:
        """The value of a TEXT, UIDREF or PNAME item."""
        keyword = {"UIDREF": "UID", "PNAME": "PersonName"}.get(self.value_type, "TextValue")
        return text(self.dataset, keyword, self.place)


def children(dataset: Dataset, place: str = "") -> Iterator[Node]:
    """The content items right below a data set."""
    for index, item in enumerate(items(dataset, "ContentSequence", place)):
        here = f"{place}ContentSequence[{index}]."
        yield Node(
            dataset=item,
            place=here,
            relationship=text(item, "RelationshipType", here),
            value_type=text(item, "ValueType", here),
            concept=coding(item, "ConceptNameCodeSequence", here),
        )


def root(dataset: Dataset) -> Node:
    """The document's root container; raises UnreadableReport for what is no SR."""
    if text(dataset, "ValueType", "") != "CONTAINER":
        raise UnreadableReport("no structured report", place="ValueType")
    return Node(
        dataset=dataset,
        place="",
        relationship="",
        value_type="CONTAINER",
        concept=coding(dataset, "ConceptNameCodeSequence", ""),
    )


def referred(document: Node, node: Node) -> Node:
    """The item that a by-reference relationship names (PS3.3 C.17.3.2.5), in its place; any other item itself."""
    path = value(node.dataset, "ReferencedContentItemIdentifier", node.place)
    if path is None:
        return node
    steps = [path] if isinstance(path, int) else list(path)
    found = document
    for step in steps[1:]:
        below = found.children()
        if not isinstance(step, int) or not 1 <= step <= len(below):
            raise UnreadableReport("no such item", place=f"{node.place}ReferencedContentItemIdentifier")
        found = below[step - 1]
    return found


def first_text(nodes: Iterator[Node]) -> str:
    """The first text that is not empty."""
    return next((found for node in nodes if (found := node.text())), "")


def first_code(nodes: Iterator[Node]) -> Coding | None:
    """The first code."""
    return next((found for node in nodes if (found := node.code()) is not None), None)
