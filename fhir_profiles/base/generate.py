"""Turns the standard's definition packages into the fact tables that the server reads.

Usage: ``python fhir_profiles/base/generate.py [FOLDER]``. Without FOLDER the packages ``hl7.fhir.r4.examples@4.0.1``
(definitions) and ``hl7.fhir.r4.expansions@4.0.1`` (expanded value sets) are fetched with ``npm pack`` into a temporary
folder; with it, the two .tgz files are taken from there. Only facts are kept (paths, types, cardinalities, bindings,
expressions, codes), no prose. Every table is one JSON object with one row a line, so that a diff can be read: rows are
sorted, except that the elements of a type keep the standard's order, which XML needs. The code systems with their
displays, and what value sets are composed of, are packed: a megabyte each of what nobody reads.
"""

import gzip
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

PACKAGES = ("hl7.fhir.r4.examples@4.0.1", "hl7.fhir.r4.expansions@4.0.1")
TARGET = Path(__file__).parent / "r4"
Json = dict[str, Any]
#: Search parameters that the package carries only as examples of the SearchParameter resource.
EXAMPLES = {"example", "example-extension", "example-reference"}
#: An expansion longer than this is a terminology's, not a code list's (UCUM's common units stop at 1,000).
LONGEST_CODE_LIST = 500
FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
#: 4.0.1's machine-readable definition says string here, its page (resource.html) id; R4B has it right.
CORRECTED = {"Resource.id": ["id"]}
REGEX = "http://hl7.org/fhir/StructureDefinition/regex"
#: Properties of a concept that say what it is to others.
CONCEPT_PROPERTIES = {"parent", "child", "notSelectable", "inactive", "status", "deprecated"}
#: Where the standard's own code systems are; of others only the codes are kept.
OWN_SYSTEMS = ("http://hl7.org/", "http://terminology.hl7.org/")
STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"


def resources(archive: Path) -> Iterator[Json]:
    """Every JSON resource of an npm definition package."""
    with tarfile.open(archive) as package:
        for member in package:
            file = package.extractfile(member) if member.name.endswith(".json") else None
            resource = json.load(file) if file else {}
            if "resourceType" in resource:
                yield resource


def element_type(kind: Json) -> str:
    """The type code of one ElementDefinition.type; FHIRPath system types are named by their FHIR type."""
    for extension in kind.get("extension", []):
        if extension["url"] == FHIR_TYPE:
            return str(extension.get("valueUrl") or extension.get("valueUri"))
    return str(kind["code"])


def element_row(element: Json) -> Json:
    """What the server needs to know of one ElementDefinition; absent keys mean none, false or unlimited."""
    row: Json = {"min": element["min"], "max": element["max"]}
    kinds = element.get("type", [])
    if kinds:
        row["types"] = CORRECTED.get(element["path"]) or [element_type(kind) for kind in kinds]
    targets = sorted({target.removeprefix(STRUCTURE) for kind in kinds for target in kind.get("targetProfile", [])})
    if targets:
        row["targets"] = targets
    if "contentReference" in element:
        row["content"] = element["contentReference"].removeprefix("#")
    binding = element.get("binding", {})
    if binding.get("valueSet"):
        row["binding"] = [binding["strength"], binding["valueSet"].split("|")[0]]
    row |= {key: 1 for key, flag in (("summary", "isSummary"), ("modifier", "isModifier")) if element.get(flag)}
    for key in element:
        if key.startswith(("fixed", "pattern")):
            row[key] = element[key]
    return row


def own_elements(definition: Json) -> Iterator[Json]:
    """The elements that a type adds to those of its base type."""
    for element in definition["snapshot"]["element"][1:]:
        inherited = element["base"]["path"] != element["path"]
        nested_base = element["path"].count(".") > 1 and element["path"].split(".")[-1] in {
            "id", "extension", "modifierExtension",
        }  # fmt: skip
        if not inherited and not nested_base:
            yield element


def is_type(definition: Json) -> bool:
    """A StructureDefinition that defines a type of the standard rather than a profile on one."""
    specialises = definition.get("derivation") == "specialization" or "baseDefinition" not in definition
    return bool(
        definition["resourceType"] == "StructureDefinition"
        and definition["kind"] != "logical"
        and specialises
        and "snapshot" in definition
    )


def type_row(definition: Json) -> Json:
    row: Json = {"kind": definition["kind"]}
    base = definition.get("baseDefinition", "").removeprefix(STRUCTURE)
    if base:
        row["base"] = base
    if definition["abstract"]:
        row["abstract"] = 1
    for element in definition["snapshot"]["element"]:
        if element["path"].endswith(".value") and definition["kind"] == "primitive-type":
            for extension in element["type"][0].get("extension", []):
                if extension["url"] == REGEX:
                    row["regex"] = extension["valueString"]
    return row


def constraint_rows(definition: Json) -> Iterator[tuple[str, Json]]:
    """Invariants at the path where they are first stated, once each."""
    for element in definition["snapshot"]["element"]:
        for constraint in element.get("constraint", []):
            source = constraint.get("source", definition["url"]).removeprefix(STRUCTURE)
            if source == definition["type"] and "expression" in constraint:
                row = {"severity": constraint["severity"], "expression": constraint["expression"]}
                yield f"{element['path']}#{constraint['key']}", row


def alternatives(expression: str) -> list[str]:
    """The operands of the outermost unions of a FHIRPath expression."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(expression):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "|" and depth == 0:
            parts.append(expression[start:at].strip())
            start = at + 1
    return [*parts, expression[start:].strip()]


def narrowed(expression: str, base: str) -> str:
    """The part of a search parameter's expression that concerns one resource type."""
    wanted = re.compile(rf"\(*({base}|Resource|DomainResource)\b")
    kept = [part for part in alternatives(expression) if wanted.match(part)]
    return " | ".join(kept) or expression


def search_rows(parameter: Json) -> Iterator[tuple[str, Json]]:
    for base in parameter.get("base", []):
        row: Json = {"type": parameter["type"], "url": parameter["url"]}
        if "expression" in parameter:
            row["expression"] = narrowed(parameter["expression"], base)
        if parameter.get("target"):
            row["targets"] = sorted(parameter["target"])
        if parameter.get("component"):
            # The standard writes one type name in the wrong case (Observation-code-value-date).
            parts = [(part["definition"], part["expression"]) for part in parameter["component"]]
            row["components"] = [[url, expression.replace("DateTime)", "dateTime)")] for url, expression in parts]
        yield f"{base}.{parameter['code']}", row


def value_set_codes(value_set: Json) -> dict[str, list[str]]:
    codes: dict[str, set[str]] = {}
    waiting = list(value_set.get("expansion", {}).get("contains", []))
    while waiting:
        concept = waiting.pop()
        waiting.extend(concept.get("contains", []))
        if "code" in concept and not concept.get("abstract"):
            codes.setdefault(concept.get("system", ""), set()).add(concept["code"])
    return {system: sorted(listed) for system, listed in sorted(codes.items())}


def concept_rows(concepts: list[Json]) -> list[Json]:
    """Codes and displays as they are nested, with the properties that say how they stand to each other."""
    rows = []
    for concept in concepts:
        row = {key: concept[key] for key in ("code", "display") if key in concept}
        kept = [one for one in concept.get("property", []) if one["code"] in CONCEPT_PROPERTIES]
        below = concept_rows(concept.get("concept", []))
        rows.append(row | ({"property": kept} if kept else {}) | ({"concept": below} if below else {}))
    return rows


def code_system_row(system: Json) -> Json:
    keys = ("version", "name", "status", "caseSensitive", "valueSet", "content", "hierarchyMeaning")
    return {key: system[key] for key in keys if key in system} | {"concept": concept_rows(system["concept"])}


def value_set_row(value_set: Json) -> Json:
    """What a value set is composed of; without the words of systems that others own."""
    parts = {
        side: [include_row(part) for part in value_set["compose"][side]]
        for side in ("include", "exclude")
        if side in value_set["compose"]
    }
    head = {key: value_set[key] for key in ("version", "name", "status") if key in value_set}
    inactive = {key: value_set["compose"][key] for key in ("inactive",) if key in value_set["compose"]}
    return head | {"compose": parts | inactive}


def include_row(part: Json) -> Json:
    row = {key: part[key] for key in ("system", "version", "filter", "valueSet") if key in part}
    if "concept" in part:
        own = part.get("system", "").startswith(OWN_SYSTEMS)
        keys = ("code", "display") if own else ("code",)
        row["concept"] = [{key: one[key] for key in keys if key in one} for one in part["concept"]]
    return row


def write_packed(name: str, rows: Iterable[tuple[str, Any]]) -> None:
    """One table, packed; the same rows give the same bytes."""
    kept = dict(sorted(rows))
    text = json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()
    (TARGET / f"{name}_table.json.gz").write_bytes(gzip.compress(text, 9, mtime=0))
    print(f"{name}: {len(kept)} rows")


def terminology(definitions: list[Json]) -> None:
    systems = [d for d in definitions if d["resourceType"] == "CodeSystem" and d.get("concept") and d.get("url")]
    # A few are in the package twice; the standard's own stand before examples.
    own = {d["url"]: code_system_row(d) for d in reversed(systems) if d["content"] != "supplement"}
    write_packed("code_system", own.items())
    sets = [d for d in definitions if d["resourceType"] == "ValueSet" and d.get("compose") and d.get("url")]
    write_packed("value_set_compose", {d["url"]: value_set_row(d) for d in reversed(sets)}.items())


def operation_row(operation: Json) -> Json:
    keys = ("code", "kind", "system", "type", "instance", "resource", "affectsState")
    row: Json = {key: operation[key] for key in keys if operation.get(key)}
    row["parameters"] = [parameter_row(parameter) for parameter in operation.get("parameter", [])]
    return row


def parameter_row(parameter: Json) -> Json:
    row: Json = {key: parameter[key] for key in ("name", "use", "min", "max", "type") if key in parameter}
    if "part" in parameter:
        row["parts"] = [parameter_row(part) for part in parameter["part"]]
    return row


def compartment_row(compartment: Json) -> Json:
    return {entry["code"]: entry["param"] for entry in compartment["resource"] if entry.get("param")}


def write(name: str, rows: Iterable[tuple[str, Any]], *, ordered: bool = False) -> None:
    """One table, a row a line; ``ordered`` rows keep their order, others are sorted by key."""
    kept = list(rows) if ordered else sorted(rows, key=lambda row: row[0])
    lines = [f"{json.dumps(key)}: {json.dumps(row, ensure_ascii=False, separators=(',', ':'))}" for key, row in kept]
    (TARGET / f"{name}_table.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{name}: {len(lines)} rows")


def tables(definitions: list[Json], expansions: list[Json]) -> None:
    types = {d["type"]: d for d in sorted(definitions, key=lambda d: d["id"]) if is_type(d)}
    elements = {e["path"]: element_row(e) for d in types.values() for e in own_elements(d)}
    write("type", ((name, type_row(d)) for name, d in types.items()))
    write("element", elements.items(), ordered=True)
    write("constraint", dict(row for d in types.values() for row in constraint_rows(d)).items())
    parameters = [d for d in definitions if d["resourceType"] == "SearchParameter" and d["id"] not in EXAMPLES]
    write("search_parameter", dict(row for p in parameters for row in search_rows(p)).items())
    write("compartment", ((d["code"], compartment_row(d)) for d in of_type(definitions, "CompartmentDefinition")))
    write("operation", ((d["url"], operation_row(d)) for d in of_type(definitions, "OperationDefinition")))
    required = {row["binding"][1] for row in elements.values() if row.get("binding", [""])[0] == "required"}
    sets = {
        v["url"]: value_set_codes(v) for v in expansions if v["resourceType"] == "ValueSet" and v["url"] in required
    }
    short = {url: codes for url, codes in sets.items() if 0 < sum(map(len, codes.values())) <= LONGEST_CODE_LIST}
    write("value_set", short.items())
    terminology(definitions)


def of_type(definitions: list[Json], resource_type: str) -> Iterator[Json]:
    official = (d for d in definitions if d["resourceType"] == resource_type)
    return (d for d in official if not d["id"].startswith("example"))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) < 2:
            subprocess.run(["npm", "pack", "--silent", *PACKAGES], cwd=folder, check=True)
        place = Path(sys.argv[1] if len(sys.argv) > 1 else folder)
        archives = [place / f"{package.replace('@', '-')}.tgz" for package in PACKAGES]
        TARGET.mkdir(exist_ok=True)
        tables(list(resources(archives[0])), list(resources(archives[1])))


if __name__ == "__main__":
    main()
