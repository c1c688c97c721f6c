"""What checks of profiles see of a resource: its elements by name, and what is around it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from server.fhir.definitions import Definitions, Property
from server.fhir.fhirpath import Node
from server.fhir.fhirpath.node import resource_node
from server.fhir.profile.rule import Rule
from server.fhir.validate.problem import Problem, Problems, below

#: What a literal reference leads to; None where it leads nowhere that is known.
Resolve = Callable[[str], dict[str, Any] | None]
_RESOURCE = ("Resource", "DomainResource")
#: Stored resources that are read for one that is validated.
_MOST_FOLLOWED = 100


class Item(NamedTuple):
    """One value of an element."""

    #: Place in the array; -1 where the element can't repeat.
    place: int
    node: Node

    def at(self, name: str, problems: list[Problem]) -> list[Problem]:
        """The problems of this value, seen from what holds it."""
        return below(name, below(f"[{self.place}]", problems) if self.place >= 0 else problems)


class Elements:
    """Reads the elements of JSON by their names, as the definitions of an edition spell them."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self._known: dict[tuple[str, str], tuple[tuple[str, Property, bool], ...]] = {}

    def values(self, node: Node, name: str) -> list[Item]:
        """The values of one element of a node, whatever type a choice has."""
        holder = node.value if type(node.value) is dict else node.extra
        found: list[Item] = []
        if not holder:
            return found
        for spelling, known, primitive in self._spellings(node.path, name):
            value = holder.get(spelling)
            extra = holder.get(f"_{spelling}") if primitive else None
            if value is None and extra is None:
                continue
            if not known.element.many:
                found.append(Item(-1, _node(value, known, extra)))
                continue
            values, extras = _array(value), _array(extra)
            for index in range(max(len(values), len(extras))):
                one = values[index] if index < len(values) else None
                beside = extras[index] if index < len(extras) else None
                if one is not None or beside is not None:
                    found.append(Item(index, _node(one, known, beside)))
        return found

    def _spellings(self, path: str, name: str) -> tuple[tuple[str, Property, bool], ...]:
        known = self._known.get((path, name))
        if known is None:
            types = self.definitions.types
            known = self._known[path, name] = tuple(
                (spelling, found, found.type in types and types[found.type].kind == "primitive-type")
                for spelling, found in self.definitions.properties(path).items()
                if found.element.name == name
            )
        return known


def _array(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _node(value: Any, known: Property, extra: Any) -> Node:
    if known.type in _RESOURCE and isinstance(value, dict):
        return resource_node(value)
    return Node(value, known.type, known.children, extra if isinstance(extra, dict) else None)


class Profiles(Protocol):
    """What checks ask of the profiles that are known."""

    @property
    def definitions(self) -> Definitions:
        """The edition that they are profiles of."""

    @property
    def elements(self) -> Elements:
        """Reads their elements."""

    def check(self, canonical: str) -> "Check | None":
        """What a profile asks of a value; None where the profile is not known."""

    def definition(self, canonical: str) -> Mapping[str, Any] | None:
        """The StructureDefinition that a canonical means."""

    def tree(self, canonical: str) -> Rule | None:
        """The elements of a profile; None where it is not known."""

    def type_of(self, canonical: str) -> str | None:
        """The type that a profile is on, or that is meant itself; None where it is not known."""

    def holds(self, value_set: str, system: str | None, code: str) -> bool | None:
        """Whether a value set has a code (of any system where that is None); None where nobody knows."""


class Situation:
    """One resource that is looked at, and what is around it."""

    __slots__ = ("bundle", "done", "follow", "followed", "profiles", "resource", "root", "stored")

    def __init__(
        self,
        profiles: Profiles,
        root: dict[str, Any],
        resource: dict[str, Any] | None = None,
        bundle: Mapping[str, Any] | None = None,
        stored: Resolve | None = None,
        *,
        follow: bool = True,
    ) -> None:
        self.profiles = profiles
        #: %rootResource: the container.
        self.root = root
        #: %resource: itself, for a contained resource the contained one.
        self.resource = root if resource is None else resource
        #: The Bundle that it came in.
        self.bundle = bundle
        #: Finds resources that the server holds; None where they are not looked at.
        self.stored = stored
        #: Whether what stored references lead to is looked at beyond the resolve() of invariants.
        self.follow = follow
        #: (resource, profile) -> what came of it; True while it is being found out, as references go in circles.
        self.done: dict[tuple[int, str], bool] = {}
        #: What stored references led to.
        self.followed: dict[str, dict[str, Any] | None] = {}

    def inside(self, resource: dict[str, Any], *, contained: bool) -> "Situation":
        """The same for a resource within; what is contained shares its container."""
        bundle = self.bundle if self.root.get("resourceType") != "Bundle" else self.root
        root = self.root if contained else resource
        twin = Situation(self.profiles, root, resource, bundle, self.stored, follow=self.follow)
        twin.done, twin.followed = self.done, self.followed
        return twin

    def at(self, value: Any) -> "Situation":
        """The same, or that of a resource within where that is the value."""
        if type(value) is not dict or "resourceType" not in value or value is self.resource:
            return self
        inside = _array(self.root.get("contained"))
        return self.inside(value, contained=any(each is value for each in inside))

    def resolve(self, reference: str) -> dict[str, Any] | None:
        """What a literal reference leads to: something contained, in the same Bundle, or stored."""
        return self._at_hand(reference) or (self._stored(reference) if self.follow else None)

    def resolved(self, reference: str) -> dict[str, Any] | None:
        """The same for the resolve() of an invariant, which looks at what is stored in any case."""
        return self._at_hand(reference) or self._stored(reference)

    def _at_hand(self, reference: str) -> dict[str, Any] | None:
        if reference.startswith("#"):
            return self._contained(reference[1:])
        bundle = self.root if self.root.get("resourceType") == "Bundle" else self.bundle
        for entry in _array((bundle or {}).get("entry")):
            resource = entry.get("resource") if isinstance(entry, dict) else None
            if isinstance(resource, dict) and _is_at(reference, entry, resource):
                return resource
        return None

    def _stored(self, reference: str) -> dict[str, Any] | None:
        """Each is read once, so that it is the same again, and no more of them than anybody needs."""
        if reference not in self.followed and self.stored is not None and len(self.followed) < _MOST_FOLLOWED:
            self.followed[reference] = self.stored(reference)
        return self.followed.get(reference)

    def _contained(self, fragment: str) -> dict[str, Any] | None:
        if not fragment:
            return self.root
        inside = _array(self.root.get("contained"))
        return next((each for each in inside if isinstance(each, dict) and each.get("id") == fragment), None)


def _is_at(reference: str, entry: Mapping[str, Any], resource: Mapping[str, Any]) -> bool:
    full = str(entry.get("fullUrl", ""))
    plain = reference.partition("/_history/")[0]
    if plain == full or full.endswith(f"/{plain}"):
        return True
    return not full and f"{resource.get('resourceType')}/{resource.get('id')}" == plain


#: What a profile asks of a value.
Check = Callable[[Node, Situation], Problems]


def fails(problems: Problems) -> bool:
    """Whether one of the problems is an error."""
    return problems is not None and any(problem.severity in ("error", "fatal") for problem in problems)
