"""ICD-10: WHO's ClaML (EN 14463) and the tabular list of ICD-10-CM as CMS publishes it, both XML."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from terminology.code_system import Header
from terminology.concept import Concept
from terminology.load.release import Listed, NotThisFormat, Release, ReleasedSystem
from terminology.load.tables import Folder

_WHO = "http://hl7.org/fhir/sid/icd-10"
_CM = "http://hl7.org/fhir/sid/icd-10-cm"
_GM = "http://fhir.de/CodeSystem/bfarm/icd-10-gm"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
#: Characters of a code of ICD-10-CM before the seventh, without the point.
_BEFORE_SEVENTH = 6
_SHORT = 3
_ABSTRACT = {"code": "notSelectable", "valueBoolean": True}


def read(folder: Folder, *, version: str = "", url: str = "") -> Release:
    """The release in a folder: the first XML file that is one of the two."""
    for name in folder.names:
        if name.lower().endswith((".xml", ".claml")):
            root = _root(folder.path(name))
            if root.tag == "ClaML":
                return _claml(root, version, url)
            if root.tag == "ICD10CM.tabular":
                return _tabular(root, version, url)
    raise NotThisFormat("There is no ClaML and no tabular list of ICD-10-CM (XML) in it.")


def _root(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise NotThisFormat(f"{path.name} is no XML: {error}.") from error


def _release(url: str, version: str, name: str, language: str, concepts: Iterator[Concept]) -> Release:
    header = Header(url=url, version=version, name=name, language=language, case_sensitive=False)
    return Release(systems=(ReleasedSystem(header, Listed.of(concepts)),))


def _claml(root: ElementTree.Element, version: str, url: str) -> Release:
    title = root.find("Title")
    name = "ICD-10" if title is None else title.get("name", "ICD-10")
    known = _GM if "GM" in name.upper() else _WHO
    edition = version or ("" if title is None else title.get("version", ""))
    languages = [label.get(_LANGUAGE, "") for label in root.iterfind("Class/Rubric/Label")]
    language = next(filter(None, languages), "")
    return _release(url or known, edition, name, language, _classes(root))


def _classes(root: ElementTree.Element) -> Iterator[Concept]:
    modifiers: dict[str, list[ElementTree.Element]] = {}
    for one in root.iterfind("ModifierClass"):
        modifiers.setdefault(one.get("modifier", ""), []).append(one)
    for one in root.iterfind("Class"):
        code = one.get("code", "")
        kind = one.get("kind", "")
        over = tuple(parent.get("code", "") for parent in one.iterfind("SuperClass"))
        label = _rubric(one, "preferredLong") or _rubric(one, "preferred")
        yield Concept(
            code=code,
            display=label,
            definition=_rubric(one, "definition"),
            designations=tuple(_included(one)),
            properties=({"code": "kind", "valueCode": kind}, *((_ABSTRACT,) if kind != "category" else ())),
            parents=over,
        )
        yield from _modified(one, code, label, modifiers)


def _modified(
    one: ElementTree.Element, code: str, label: str, modifiers: Mapping[str, list[ElementTree.Element]]
) -> Iterator[Concept]:
    """The codes that a class has by its modifiers: each further character with its own label."""
    bases = [(code, label)]
    for by in one.iterfind("ModifiedBy"):
        valid = {each.get("code") for each in by.iterfind("ValidModifierClass")}
        further = []
        for base, words in bases:
            for modifier in modifiers.get(by.get("code", ""), ()):
                own = modifier.get("code", "")
                if not valid or own in valid:
                    text = f"{words}: {_rubric(modifier, 'preferred')}"
                    yield Concept(code=base + own, display=text, parents=(base,))
                    further.append((base + own, text))
        bases = further or bases


def _rubric(one: ElementTree.Element, kind: str) -> str:
    found = next((rubric for rubric in one.iterfind("Rubric") if rubric.get("kind") == kind), None)
    label = None if found is None else found.find("Label")
    return "" if label is None else _text(label)


def _included(one: ElementTree.Element) -> Iterator[dict[str, Any]]:
    for rubric in one.iterfind("Rubric"):
        if rubric.get("kind") == "inclusion":
            for label in rubric.iterfind("Label"):
                language = {"language": label.get(_LANGUAGE)} if label.get(_LANGUAGE) else {}
                yield {**language, "value": _text(label)}


def _text(element: ElementTree.Element | None) -> str:
    return "" if element is None else " ".join("".join(element.itertext()).split())


def _tabular(root: ElementTree.Element, version: str, url: str) -> Release:
    edition = version or _text(root.find("version"))
    return _release(url or _CM, edition, "ICD-10-CM", "en-US", _chapters(root))


def _chapters(root: ElementTree.Element) -> Iterator[Concept]:
    for chapter in root.iterfind("chapter"):
        name = f"chapter-{_text(chapter.find('name'))}"
        yield Concept(code=name, display=_text(chapter.find("desc")), properties=(_ABSTRACT,))
        for section in chapter.iterfind("section"):
            id = section.get("id", "")
            yield Concept(code=id, display=_text(section.find("desc")), properties=(_ABSTRACT,), parents=(name,))
            for diagnosis in section.iterfind("diag"):
                yield from _diagnosis(diagnosis, id, ())


def _diagnosis(one: ElementTree.Element, over: str, seventh: tuple[tuple[str, str], ...]) -> Iterator[Concept]:
    """A diagnosis and what is below it; the seventh characters stand below the last level."""
    code, label = _text(one.find("name")), _text(one.find("desc"))
    own = tuple((each.get("char", ""), _text(each)) for each in one.iterfind("sevenChrDef/extension"))
    seventh = own or seventh
    below = one.findall("diag")
    synonyms = [*one.iterfind("inclusionTerm/note"), *one.iterfind("includes/note")]
    grouping = bool(below or seventh)
    yield Concept(
        code=code,
        display=label,
        designations=tuple({"language": "en-US", "value": _text(note)} for note in synonyms),
        properties=(_ABSTRACT,) if grouping else (),
        parents=(over,),
    )
    for each in below:
        yield from _diagnosis(each, code, seventh)
    if not below:
        for character, text in seventh:
            yield Concept(code=_seventh(code, character), display=f"{label}, {text}", parents=(code,))


def _seventh(code: str, character: str) -> str:
    """The code with a seventh character, X standing for what is not there."""
    plain = code.replace(".", "").ljust(_BEFORE_SEVENTH, "X")
    return f"{plain[:_SHORT]}.{plain[_SHORT:]}{character}"
