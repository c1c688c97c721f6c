"""Holds the examples of FHIR packages against the profiles that they declare, then each of them broken on purpose.

    python -m benchmarks.profiles PACKAGE.tgz [DEPENDENCY.tgz ...] [--shown N] [--json FILE]

Examples are those of the first package, wherever it has them; definitions are those of all. Reported are the examples
that declare a profile that is here and meet it, what the others fail by, how many of the mutations (a required element
or slice dropped, a fixed value or pattern broken, a slice doubled that may stand once) are caught, and validations a
second of processor time: the base standard alone, and profiles on top.
"""

import argparse
import json
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from server.fhir import json_format
from server.fhir.definitions import load
from server.fhir.fhirpath.node import resource_node
from server.fhir.profile import Asked, KnownProfiles, conformance
from server.fhir.profile.conformance import declared
from server.fhir.profile.discriminator import belonging
from server.fhir.profile.instance import Elements, Situation
from server.fhir.profile.rule import BY_TYPE, BY_URL, Rule
from server.fhir.validate import validate
from server.search import bundled
from server.search.canonical import newest, of_version
from server.search.ucum_system import UcumSystem
from terminology.code_system import CodeSystem, MemoryCodeSystem
from terminology.implicit import UCUM
from terminology.value_set import Definition

Change = tuple[str, Callable[[], None], Callable[[], None]]
DEFINITIONS = load()


def read(archive: Path) -> Iterator[dict[str, Any]]:
    """Every resource of a package, examples too."""
    with tarfile.open(archive) as package:
        for member in package:
            file = package.extractfile(member) if member.name.endswith(".json") else None
            try:
                resource = json_format.parse(file.read()) if file else {}
            except ValueError:
                resource = {}
            if isinstance(resource.get("resourceType"), str):
                yield resource


class Terminology:
    """Value sets and code systems of some resources; ``terminology.value_set.Content``."""

    def __init__(self, find: Callable[[str, str, str], Mapping[str, Any] | None]) -> None:
        self._find = find

    def code_system(self, url: str, version: str = "") -> CodeSystem | None:
        """A code system by its canonical, UCUM by its grammar."""
        if url == UCUM:
            return UcumSystem(None)
        found = self._find("CodeSystem", url, version)
        return None if found is None else MemoryCodeSystem.of_resource(dict(found))

    def value_set(self, url: str, version: str = "") -> Definition | None:
        """A value set by its canonical, else of the standard's own."""
        found = self._find("ValueSet", url, version)
        return bundled.value_set(DEFINITIONS, url) if found is None else Definition(dict(found))


def known(archives: list[Path]) -> KnownProfiles:
    """The definitions of packages, as a server that stores them would know them."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for archive in archives:
        for resource in read(archive):
            if resource["resourceType"] in ("StructureDefinition", "ValueSet", "CodeSystem") and "url" in resource:
                found.setdefault((resource["resourceType"], resource["url"]), []).append(resource)

    def find(kind: str, url: str, version: str = "") -> Mapping[str, Any] | None:
        return newest(of_version(found.get((kind, url), []), version))

    def fetch(canonical: str) -> Mapping[str, Any] | None:
        url, _, version = canonical.partition("|")
        return find("StructureDefinition", url, version)

    return KnownProfiles(Elements(DEFINITIONS), fetch, Terminology(find))


def errors(resource: dict[str, Any], profiles: KnownProfiles) -> list[str]:
    """What is wrong with a resource by the base standard, else by its profiles."""
    issues = validate(DEFINITIONS, resource) or conformance(resource, profiles, Asked())
    return [f"{issue.expression}: {issue.details}" for issue in issues if issue.severity in ("error", "fatal")]


def changes(resource: dict[str, Any], canonical: str, profiles: KnownProfiles) -> Iterator[Change]:
    """Ways to break what a profile asks: what, how, and how to undo it."""
    rule = profiles.tree(canonical)
    if rule is not None:
        yield from _below(resource, resource["resourceType"], rule, Situation(profiles, resource))


def _below(holder: dict[str, Any], path: str, rule: Rule, situation: Situation) -> Iterator[Change]:
    for name, child in rule.children.items():
        spelled = DEFINITIONS.properties(path) if path else {}
        keys = [key for key in holder if key in spelled and spelled[key].element.name == name]
        for key in keys:
            if child.min:
                yield f"without {child.label}", _drop(holder, key), _set(holder, key)
            yield from _value(holder, key, child)
            if isinstance(holder[key], list):
                yield from _slices(holder, key, child, situation)
            inside = holder[key] if isinstance(holder[key], list) else [holder[key]]
            for each in inside:
                if isinstance(each, dict) and "resourceType" not in each:
                    yield from _below(each, spelled[key].children, child, situation)


def _slices(holder: dict[str, Any], key: str, rule: Rule, situation: Situation) -> Iterator[Change]:
    slicing = rule.slicing or (BY_URL if rule.name.lower().endswith("extension") else BY_TYPE)
    items = situation.profiles.elements.values(
        resource_node(holder) if "resourceType" in holder else _node(holder, key), rule.name
    )
    for name, one in rule.slices.items():
        belongs = belonging(one, slicing, situation.profiles, lambda _: None)
        own = [item.node for item in items if belongs is not None and belongs(item.node, situation)]
        values = [node.value for node in own]
        if values and one.min and len(values) == one.min:
            rest = [each for each in holder[key] if not any(each is value for value in values)]
            change = _put(holder, key, rest) if rest else _drop(holder, key)
            yield f"without slice {one.label}", change, _set(holder, key)
        if values and one.max not in (None, "*") and len(values) == int(str(one.max)):
            yield f"slice {name} doubled", _put(holder, key, [*holder[key], values[0]]), _set(holder, key)
        for node in own:
            if isinstance(node.value, dict):
                yield from _below(node.value, node.path, one, situation)


def _node(holder: dict[str, Any], key: str) -> Any:
    from server.fhir.fhirpath import Node

    paths = [path for path in _PATHS if key in DEFINITIONS.properties(path)]
    return Node(holder, paths[0] if paths else "", paths[0] if paths else "")


_PATHS = ("Extension", "CodeableConcept", "BackboneElement", *DEFINITIONS.types)


def _value(holder: dict[str, Any], key: str, rule: Rule) -> Iterator[Change]:
    wanted = rule.fixed or rule.pattern
    if not wanted or isinstance(holder[key], list):
        return
    if isinstance(wanted[0], str):
        yield f"{rule.label} is another", _put(holder, key, f"{holder[key]}x"), _set(holder, key)
    elif isinstance(wanted[0], dict) and isinstance(holder[key], dict):
        name = next(iter(wanted[0]))
        if name in holder[key] and len(holder[key]) > 1:
            rest = {each: value for each, value in holder[key].items() if each != name}
            yield f"{rule.label} lacks {name}", _put(holder, key, rest), _set(holder, key)


def _drop(holder: dict[str, Any], key: str) -> Callable[[], None]:
    return lambda: holder.__delitem__(key)


def _put(holder: dict[str, Any], key: str, value: Any) -> Callable[[], None]:
    return lambda: holder.__setitem__(key, value)


def _set(holder: dict[str, Any], key: str) -> Callable[[], None]:
    return _put(holder, key, holder[key])


def speed(resources: list[dict[str, Any]], profiles: KnownProfiles) -> dict[str, int]:
    """Validations a second of processor time: the base standard alone, and profiles on top."""
    figures = {}
    for name, run in (
        ("base", lambda each: validate(DEFINITIONS, each)),
        ("profiles", lambda each: conformance(each, profiles, Asked())),
    ):
        begin, count = time.process_time(), 0
        while time.process_time() - begin < 1:
            for each in resources:
                run(each)
            count += len(resources)
        figures[f"{name}_per_second"] = round(count / (time.process_time() - begin))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="+", type=Path)
    parser.add_argument("--shown", type=int, default=40)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    profiles = known(options.packages)
    held = [each for each in read(options.packages[0]) if any(profiles.check(one) for one in declared(each))]
    sound, failed, caught, missed = [], {}, 0, Counter[str]()
    for resource in held:
        faults = errors(resource, profiles)
        if faults:
            failed[f"{resource['resourceType']}/{resource.get('id')}"] = faults
            continue
        sound.append(resource)
        for canonical in declared(resource):
            for what, change, undo in list(changes(resource, canonical, profiles)):
                change()
                if errors(resource, profiles):
                    caught += 1
                else:
                    missed[f"{canonical}: {what}"] += 1
                undo()
    for name, faults in failed.items():
        print(name, *faults[:3], sep="\n    ")
    for what, count in missed.most_common(options.shown):
        print(f"not caught {count} times: {what}")
    figures = {"examples": len(held), "meet": len(sound), "mutations": caught + missed.total(), "caught": caught}
    figures |= speed(sound, profiles) if sound else {}
    print(json.dumps(figures))
    if options.json:
        options.json.write_text(json.dumps({**figures, "failed": failed, "missed": missed}, indent=1) + "\n")


if __name__ == "__main__":
    main()
