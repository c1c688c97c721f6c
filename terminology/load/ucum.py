"""UCUM: the units of ucum-essence.xml; units made from them are told by UCUM's grammar. https://ucum.org"""

from collections.abc import Iterator
from xml.etree import ElementTree

from terminology.code_system import Header
from terminology.concept import Concept
from terminology.implicit import UCUM
from terminology.load.release import Listed, NotThisFormat, Release, ReleasedSystem
from terminology.load.tables import Folder

_KINDS = ("base-unit", "unit")


def read(folder: Folder, *, version: str = "") -> Release:
    """The release in a folder."""
    name = folder.find(r"\.xml$")
    if name is None:
        raise NotThisFormat("There is no ucum-essence.xml in it.")
    try:
        root = ElementTree.parse(folder.path(name)).getroot()
    except ElementTree.ParseError as error:
        raise NotThisFormat(f"{name} is no XML: {error}.") from error
    concepts = Listed.of(_units(root))
    if not len(concepts):
        raise NotThisFormat("There is no base-unit and no unit in it.")
    header = Header(
        url=UCUM, version=version or root.get("version", ""), name="UCUM", value_set=f"{UCUM}/vs", language="en"
    )
    return Release(systems=(ReleasedSystem(header, concepts),))


def _units(root: ElementTree.Element) -> Iterator[Concept]:
    for one in root:
        kind = one.tag.rpartition("}")[2]
        code = one.get("Code", "")
        if kind in _KINDS and code:
            texts = {tag: [_text(child) for child in one if child.tag.rpartition("}")[2] == tag and _text(child)]
                     for tag in ("name", "property", "printSymbol")}  # fmt: skip
            names = texts["name"] or [code]
            properties = [{"code": "property", "valueString": text} for text in texts["property"]]
            properties += [{"code": "printSymbol", "valueString": text} for text in texts["printSymbol"]]
            metric = kind == "base-unit" or one.get("isMetric") == "yes"
            yield Concept(
                code=code,
                display=names[0],
                designations=tuple({"language": "en", "value": text} for text in names[1:]),
                properties=(*properties, {"code": "isMetric", "valueBoolean": metric}),
            )


def _text(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())
