"""Concept maps: from a code to those that stand for it elsewhere. https://hl7.org/fhir/R4/conceptmap.html"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Resource = Mapping[str, Any]
#: The same relation seen from the other end.
_REVERSED = {"wider": "narrower", "narrower": "wider", "subsumes": "specializes", "specializes": "subsumes"}
#: Relations that are no translation.
NO_MATCH = frozenset({"unmatched", "disjoint"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Translation:
    """One code that another one stands for."""

    #: https://hl7.org/fhir/R4/valueset-concept-map-equivalence.html
    equivalence: str
    system: str
    code: str
    display: str = ""
    #: What else is said together with it.
    products: tuple[Mapping[str, Any], ...] = ()


class Elements:
    """A concept map whose elements are found by their code or by their targets', however many there are."""

    def __init__(self, resource: Resource, ask: Callable[[str, bool], Resource] | None = None) -> None:
        #: The ConceptMap; where ``ask`` gives its elements, it is without them.
        self.resource = resource
        self._ask = ask

    @property
    def version(self) -> str:
        """The map's version."""
        return str(self.resource.get("version", ""))

    def of_code(self, code: str, *, reverse: bool = False) -> Resource:
        """The map with the elements of one code, or with ``reverse`` of one target."""
        if self._ask is not None:
            return self._ask(code, reverse)
        places = self._targets if reverse else self._codes
        groups = self.resource.get("group", ())
        found = [{**group, "element": places[at].get(code, [])} for at, group in enumerate(groups)]
        return {**self.resource, "group": found}

    @cached_property
    def _codes(self) -> list[dict[str, list[Resource]]]:
        return [_by((str(one.get("code")), one) for one in group.get("element", ()))
                for group in self.resource.get("group", ())]  # fmt: skip

    @cached_property
    def _targets(self) -> list[dict[str, list[Resource]]]:
        return [
            _by(
                (str(target.get("code")), {**one, "target": [target]})
                for one in group.get("element", ())
                for target in one.get("target", ())
            )
            for group in self.resource.get("group", ())
        ]


def _by(pairs: Iterable[tuple[str, Resource]]) -> dict[str, list[Resource]]:
    found: dict[str, list[Resource]] = {}
    for code, one in pairs:
        found.setdefault(code, []).append(one)
    return found


def translations(
    concept_map: Resource,
    system: str,
    code: str,
    *,
    target_system: str = "",
    reverse: bool = False,
    dependencies: Mapping[str, str] | None = None,
    other: Callable[[str], Iterator[Translation]] = lambda _: iter(()),
) -> Iterator[Translation]:
    """What a code stands for; with ``reverse`` what stands for it. ``dependencies``: property -> value at hand.

    ``other`` gives what another map, named by its canonical, has for what this one does not map.
    """
    for group in concept_map.get("group", ()):
        source, target = str(group.get("source", "")), str(group.get("target", ""))
        if reverse:
            source, target = target, source
        if system not in ("", source) or target_system not in ("", target):
            continue
        if reverse:
            yield from _back(group, target, code)
        else:
            yield from _forth(group, target, code, dependencies or {}, other)


def _forth(
    group: Resource,
    target: str,
    code: str,
    dependencies: Mapping[str, str],
    other: Callable[[str], Iterator[Translation]],
) -> Iterator[Translation]:
    elements = [one for one in group.get("element", ()) if one.get("code") == code]
    for element in elements:
        for one in element.get("target", ()):
            if _applies(one, dependencies):
                yield _translation(one, target, str(one.get("equivalence", "")), str(one.get("code", "")))
    if not elements:
        unmapped = group.get("unmapped") or {}
        yield from other(str(unmapped.get("url", ""))) if unmapped.get("mode") == "other-map" else ()
        yield from _unmapped(unmapped, target, code)


def _back(group: Resource, target: str, code: str) -> Iterator[Translation]:
    for element in group.get("element", ()):
        for one in element.get("target", ()):
            if one.get("code") == code:
                equivalence = str(one.get("equivalence", ""))
                yield _translation(element, target, _REVERSED.get(equivalence, equivalence), str(element.get("code")))


def _translation(one: Resource, system: str, equivalence: str, code: str) -> Translation:
    products = tuple(one.get("product", ()))
    display = str(one.get("display", ""))
    return Translation(equivalence=equivalence, system=system, code=code, display=display, products=products)


def _applies(target: Resource, dependencies: Mapping[str, str]) -> bool:
    return all(dependencies.get(str(one.get("property"))) == one.get("value") for one in target.get("dependsOn", ()))


def _unmapped(unmapped: Resource, target: str, code: str) -> Iterator[Translation]:
    """What holds for codes that the map does not list."""
    mode = unmapped.get("mode")
    if mode == "provided":
        yield Translation(equivalence="equal", system=target, code=code)
    elif mode == "fixed":
        display = str(unmapped.get("display", ""))
        yield Translation(equivalence="inexact", system=target, code=str(unmapped.get("code", "")), display=display)
