"""RadLex: as the comma-separated file of BioPortal, or as OWL (RDF/XML). https://radlex.org"""

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from terminology.code_system import Header
from terminology.codings import SYSTEMS
from terminology.concept import Concept
from terminology.load.release import Listed, NotThisFormat, Release, ReleasedSystem
from terminology.load.tables import Folder

RADLEX = SYSTEMS["RADLEX"]
_CODE = re.compile(r"RID\d+$")
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_RDFS = "{http://www.w3.org/2000/01/rdf-schema#}"
_OWL = "{http://www.w3.org/2002/07/owl#}"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_INACTIVE = {"code": "inactive", "valueBoolean": True}


def read(folder: Folder, *, version: str = "") -> Release:
    """The release in a folder."""
    table, owl = folder.find(r"\.csv$"), folder.find(r"\.(owl|rdf|xml)$")
    if table is not None:
        concepts = Listed.of(_rows(folder, table))
    elif owl is not None:
        concepts, version = _owl(folder, owl, version)
    else:
        raise NotThisFormat("There is no .csv and no .owl file of RadLex in it.")
    if not len(concepts):
        raise NotThisFormat("No class in it has an address that ends in RID and a number.")
    header = Header(url=RADLEX, version=version, name="RadLex", language="en")
    return Release(systems=(ReleasedSystem(header, concepts),))


def _code(address: str) -> str:
    found = _CODE.search(address.strip())
    return found[0] if found else ""


def _rows(folder: Folder, name: str) -> Iterator[Concept]:
    for row in folder.rows(name):
        code = _code(row.get("Class ID", ""))
        if code:
            synonyms = [one.strip() for one in (row.get("Synonyms") or "").split("|")]
            parents = [_code(one) for one in (row.get("Parents") or "").split("|")]
            yield Concept(
                code=code,
                display=row.get("Preferred Label", ""),
                definition=(row.get("Definitions") or row.get("Definition") or "").strip("|"),
                designations=tuple({"language": "en", "value": one} for one in synonyms if one),
                properties=(_INACTIVE,) if (row.get("Obsolete") or "").lower() == "true" else (),
                parents=tuple(filter(None, parents)),
            )


def _owl(folder: Folder, name: str, version: str) -> tuple[Listed, str]:
    try:
        root = ElementTree.parse(folder.path(name)).getroot()
    except ElementTree.ParseError as error:
        raise NotThisFormat(f"{name} is no XML: {error}.") from error
    found = root.find(f"{_OWL}Ontology/{_OWL}versionInfo")
    return Listed.of(_classes(root)), version or ("" if found is None else (found.text or "").strip())


def _classes(root: ElementTree.Element) -> Iterator[Concept]:
    for one in root.iterfind(f"{_OWL}Class"):
        code = _code(one.get(f"{_RDF}about", one.get(f"{_RDF}ID", "")))
        if code:
            names = list(_names(one))
            preferred = next((text for kind, _, text in names if kind.startswith("Preferred_name")), "")
            label = preferred or next((text for kind, _, text in names if kind == "label"), "")
            parents = [_code(over.get(f"{_RDF}resource", "")) for over in one.iterfind(f"{_RDFS}subClassOf")]
            yield Concept(
                code=code,
                display=label,
                definition=next((text for kind, _, text in names if kind == "Definition"), ""),
                designations=tuple(_designation(language, text) for kind, language, text in names
                                   if kind != "Definition" and text != label),
                properties=(_INACTIVE,) if any("obsolete" in kind.lower() for kind, _, _ in names) else (),
                parents=tuple(filter(None, parents)),
            )  # fmt: skip


def _names(one: ElementTree.Element) -> Iterator[tuple[str, str, str]]:
    """(kind, language, text) of what is a name or the definition."""
    for child in one:
        kind = child.tag.rpartition("}")[2]
        wanted = kind in ("label", "Synonym", "Definition", "Acronym", "Misspelling_of_term")
        if (wanted or kind.startswith("Preferred_")) and (child.text or "").strip():
            yield kind, child.get(_LANGUAGE, "en"), " ".join((child.text or "").split())


def _designation(language: str, text: str) -> dict[str, Any]:
    return {"language": language, "value": text}
