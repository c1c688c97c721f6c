"""Any SR as a tree that a person can read, as plain text or as HTML; by content items, whatever the template.

PS3.3 C.17.3 and C.18. Everything that comes from the report is escaped. A value that can't be read is said to be so in
its place, so that one slip does not hide the rest.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape

from pydicom import Dataset
from pydicom.uid import UID

from dicom_sr.content_tree import Node, coding, items, numbers, root, text, value
from dicom_sr.errors import UnreadableReport

#: No report nests deeper; one that does was made to exhaust its reader.
_DEEPEST = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One content item as it is shown."""

    depth: int
    relationship: str
    concept: str
    value: str


def lines(dataset: Dataset) -> Iterator[Line]:
    """The items in the order of the report; raises UnreadableReport for what is no SR or nests too deeply."""
    pending = [(root(dataset), 0)]
    while pending:
        node, depth = pending.pop()
        if depth > _DEEPEST:
            raise UnreadableReport("nested too deeply", place=node.place)
        shown = node.concept.meaning if node.concept else ""
        yield Line(depth=depth, relationship=node.relationship.lower(), concept=shown, value=_value(node))
        pending.extend((child, depth + 1) for child in reversed(node.children()))


def as_text(dataset: Dataset) -> str:
    """The report as indented lines."""
    shown = ((line.depth, ": ".join(part for part in (line.concept, line.value) if part)) for line in lines(dataset))
    return "\n".join("  " * depth + words for depth, words in shown)


def as_html(dataset: Dataset) -> str:
    """The report as nested lists without any styling of their own: a fragment to stand inside of a page."""
    parts: list[str] = []
    depth = -1
    for line in lines(dataset):
        parts += ["<ul>"] if line.depth > depth else ["</li>", *(["</ul></li>"] * (depth - line.depth))]
        depth = line.depth
        hint = f' title="{escape(line.relationship)}"' if line.relationship else ""
        concept = f"<b>{escape(line.concept)}</b>" if line.concept else ""
        parts.append(f"<li{hint}>{': '.join(part for part in (concept, escape(line.value)) if part)}")
    parts.append("</li></ul>" * (depth + 1))
    return "".join(parts)


def _value(node: Node) -> str:
    try:
        return _READERS.get(node.value_type, _nothing)(node)
    except UnreadableReport as error:
        return f"[unreadable: {error.place}]"


def _nothing(node: Node) -> str:
    reference = value(node.dataset, "ReferencedContentItemIdentifier", node.place)
    return "" if reference is None else f"see item {reference}"


def _code(node: Node) -> str:
    found = node.code()
    return found.meaning if found else ""


def _number(node: Node) -> str:
    for measured in items(node.dataset, "MeasuredValueSequence", node.place):
        unit = coding(measured, "MeasurementUnitsCodeSequence", node.place)
        amount = text(measured, "NumericValue", node.place)
        return f"{amount} {unit.value}" if unit and unit.value != "1" else amount
    qualifier = coding(node.dataset, "NumericValueQualifierCodeSequence", node.place)
    return qualifier.meaning if qualifier else ""


def _reference(node: Node) -> str:
    found = []
    for item in items(node.dataset, "ReferencedSOPSequence", node.place):
        name = UID(text(item, "ReferencedSOPClassUID", node.place)).name
        frame = text(item, "ReferencedFrameNumber", node.place)
        instance = text(item, "ReferencedSOPInstanceUID", node.place)
        found.append(f"{name} {instance}" + (f" frame {frame}" if frame else ""))
    return ", ".join(found)


def _graphic(node: Node) -> str:
    size = 3 if node.value_type == "SCOORD3D" else 2
    flat = numbers(node.dataset, "GraphicData", node.place)
    kind = text(node.dataset, "GraphicType", node.place)
    points = [flat[at : at + size] for at in range(0, len(flat), size)]
    if len(points) == 1:
        return f"{kind} at {', '.join(f'{coordinate:g}' for coordinate in points[0])}"
    return f"{kind} of {len(points)} points"


def _attribute(keyword: str) -> Callable[[Node], str]:
    return lambda node: text(node.dataset, keyword, node.place)


_READERS: dict[str, Callable[[Node], str]] = {
    "CODE": _code,
    "TEXT": Node.text,
    "UIDREF": Node.text,
    "PNAME": Node.text,
    "NUM": _number,
    "DATE": _attribute("Date"),
    "TIME": _attribute("Time"),
    "DATETIME": _attribute("DateTime"),
    "IMAGE": _reference,
    "COMPOSITE": _reference,
    "WAVEFORM": _reference,
    "SCOORD": _graphic,
    "SCOORD3D": _graphic,
    "TCOORD": _attribute("TemporalRangeType"),
}
