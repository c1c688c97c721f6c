"""What has no pixels to draw, for people: reports, structure sets, segmentations and the rest as a page or as text.

Read by a pixel worker, since any of it may come from anybody. Everything that comes from the instance is escaped.
"""

from collections.abc import Iterator
from html import escape
from io import BytesIO

import pydicom
from pydicom.uid import UID

from dicom_sr import render
from dicom_sr.errors import UnreadableReport
from server.errors import Unprocessable
from server.imaging import attributes as read
from server.imaging.dataset import Attributes
from server.imaging.head import read_head
from server.imaging.segmentation import is_segmentation

#: Storage SOP classes of structured reports start with this (PS3.4 B.5); key object selections are among them.
REPORT = "1.2.840.10008.5.1.4.1.1.88."
_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
#: Attributes that head every listing.
_HEADING = (
    ("00100020", "Patient ID"),
    ("00080020", "Study date"),
    ("00080060", "Modality"),
    ("0008103E", "Series"),
    ("0040A491", "Completion"),
    ("0040A493", "Verification"),
    ("00080070", "Manufacturer"),
)
_MOST_LINES = 50_000


def view(file: bytes, *, html: bool) -> str:
    """The Part 10 file as an HTML fragment or as text; raises Unprocessable where it can't be read."""
    header = read_head(file).attributes
    sop_class = read.text(header, "00080016")
    if sop_class.startswith(REPORT):
        dataset = pydicom.dcmread(BytesIO(file))
        try:
            body = render.as_html(dataset) if html else render.as_text(dataset)
        except UnreadableReport as error:
            raise Unprocessable(f"The report can't be read: {error}", expression="0040A730") from error
        return _headed(header, html=html) + body
    if sop_class == _STRUCTURE_SET:
        lines = list(_structures(header))
    elif is_segmentation(header):
        lines = list(_segments(header))
    else:
        lines = list(_attributes(header, 0))
    return _headed(header, html=html) + (
        _list(lines) if html else "\n".join("  " * depth + text for depth, text in lines)
    )


def _headed(header: Attributes, *, html: bool) -> str:
    """Whose it is and what it is."""
    shown = [(label, read.text(header, key)) for key, label in _HEADING]
    # Every group of the name: the reader may know the patient by any of them.
    shown.insert(0, ("Patient", read.name(header, "00100010")))
    shown.insert(0, ("Kind", UID(read.text(header, "00080016")).name))
    rows = [(label, text) for label, text in shown if text]
    if not html:
        return "\n".join(f"{label}: {text}" for label, text in rows) + "\n\n"
    return "<dl>" + "".join(f"<dt>{label}</dt><dd>{escape(text)}</dd>" for label, text in rows) + "</dl>"


def _list(lines: list[tuple[int, str]]) -> str:
    """Indented lines as nested lists."""
    parts: list[str] = []
    depth = -1
    for level, text in lines:
        if level > depth:
            parts += ["<ul>"] * (level - depth)
        else:
            parts += ["</li>", *(["</ul></li>"] * (depth - level))]
        depth = level
        parts.append(f"<li>{escape(text)}")
    return "".join(parts) + "</li></ul>" * (depth + 1)


def _code(item: Attributes, key: str) -> str:
    return next((read.text(code, "00080104") for code in read.items(item, key)), "")


def _structures(header: Attributes) -> Iterator[tuple[int, str]]:
    """Regions of interest with their kind and contours (PS3.3 C.8.8.5, C.8.8.6, C.8.8.8)."""
    yield 0, f"Structure set: {read.text(header, '30060002') or '-'}"
    kinds = {read.integer(item, "30060084"): read.text(item, "300600A4") for item in read.items(header, "30060080")}
    contours = {read.integer(item, "30060084"): read.items(item, "30060040") for item in read.items(header, "30060039")}
    for region in read.items(header, "30060020"):
        number = read.integer(region, "30060022")
        yield 1, f"{number}: {read.text(region, '30060026') or 'unnamed'}"
        if kinds.get(number):
            yield 2, f"Type: {kinds[number]}"
        volume = read.number(region, "3006002C")
        if volume is not None:
            # ROI Volume is in cubic centimeters (PS3.3 C.8.8.5).
            yield 2, f"Volume: {volume:g} cm3"
        found = contours.get(number, [])
        points = sum(read.integer(contour, "30060046") or 0 for contour in found)
        yield 2, f"Contours: {len(found)}, points: {points}"


def _segments(header: Attributes) -> Iterator[tuple[int, str]]:
    """Segments with what they are (PS3.3 C.8.20.4), and how many frames there are."""
    yield 0, f"Segmentation: {read.text(header, '00700080') or '-'}, {read.text(header, '00620001')}"
    yield 0, f"Frames: {read.integer(header, '00280008') or 0}"
    for segment in read.items(header, "00620002"):
        yield 1, f"{read.integer(segment, '00620004')}: {read.text(segment, '00620005') or 'unnamed'}"
        for key, label in (("00620003", "Category"), ("0062000F", "Type"), ("00082218", "Anatomic region")):
            meaning = _code(segment, key)
            if meaning:
                yield 2, f"{label}: {meaning}"
        algorithm = " ".join(filter(None, (read.text(segment, "00620008"), read.text(segment, "00620009"))))
        if algorithm:
            yield 2, f"Algorithm: {algorithm}"


def _attributes(header: Attributes, depth: int) -> Iterator[tuple[int, str]]:
    """Every public attribute by its name; values that are no text by their kind."""
    count = 0
    for key, element in header.items():
        name = pydicom.datadict.dictionary_description(key) if pydicom.datadict.dictionary_has_tag(key) else ""
        if not name or count > _MOST_LINES:
            continue
        count += 1
        if element.get("vr") == "SQ":
            yield depth, name
            for item in read.items(header, key)[:100]:
                yield from _attributes(item, depth + 1)
        elif "Value" in element:
            values = [read.text({"0": {"Value": [value]}}, "0") for value in element["Value"][:16]]
            yield depth, f"{name}: {', '.join(values)}"
