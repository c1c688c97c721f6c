"""The values of a resource as a query's fields name and shape them: https://hl7.org/fhir/R4/graphql.html"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from server.errors import BadRequest, Unprocessable
from server.fhir.fhirpath import Budget, Expression, Node, compile_expression, plain_value
from server.fhir.graphql import Field, Selection
from server.operations.graphql_fields import Fields

Resource = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a value stands: its type, where its children are defined, and in which resource."""

    type: str
    path: str
    #: Whether it is one of a list.
    many: bool = False
    root: Resource
    #: Inside of what was flattened: what would be one value becomes a list.
    listed: bool = False
    #: What @slice has put behind the names so far.
    suffix: str = ""
    is_resource: bool = False

    @staticmethod
    def of(resource: Resource, within: Resource | None = None) -> "Place":
        """The place of a whole resource; ``within`` is the one that contains it."""
        kind = resource["resourceType"]
        return Place(type=kind, path=kind, root=within if within else resource, is_resource=True)


#: Follows what leads to other resources: (field, object, its place, where the answer goes) -> whether it does.
Navigate = Callable[[Field, Any, Place, Resource], bool]


@dataclass(frozen=True, kw_only=True, eq=False)
class Values:
    """How values become an answer."""

    fields: Fields
    navigate: Navigate
    budget: Budget

    def object(self, value: Resource, place: Place, selections: Sequence[Selection]) -> Resource:
        """What is selected of one object."""
        target: Resource = {}
        self.fill(value, place, selections, target)
        return target

    def fill(self, value: Resource, place: Place, selections: Sequence[Selection], target: Resource) -> None:
        """The same into an answer that may have something already."""
        if not selections:
            raise BadRequest(
                f"Say what of {place.type or place.path} is wanted, between braces.", expression=place.path
            )
        for field in self.fields.of(selections, place.type):
            if field.name == "__typename" or (field.name == "resourceType" and place.is_resource):
                self._add(target, field, place, place.type)
            elif not self.navigate(field, value, place, target):
                found, inner = self._element(value, place, field.name)
                self.put(list(self._filtered(found, field, inner)), field, inner, target)

    def put(self, values: Sequence[Any], field: Field, place: Place, target: Resource) -> None:
        """Values of one field into an answer; there is nothing where there are none."""
        flat, first = field.directive("flatten") is not None, field.directive("first") is not None
        for number, value in enumerate(values[:1] if first else values):
            inner = replace(place, suffix=f"{place.suffix}{self._sliced(value, field, place, number)}")
            if flat and isinstance(value, dict):
                listed = place.listed or (place.many and not first)
                self.fill(value, self._entered(value, inner, listed), field.selections, target)
            else:
                single = replace(inner, many=place.many and not first)
                self._add(target, field, single, self._shown(value, field, inner))

    def _shown(self, value: Any, field: Field, place: Place) -> Any:
        if isinstance(value, dict):
            inside = replace(self._entered(value, place, listed=False), suffix="")
            return self.object(value, inside, field.selections)
        self.fields.give(value)
        if field.selections:
            raise BadRequest(f"{field.name} is a simple value: nothing can be selected of it.", expression=field.name)
        return value

    def _entered(self, value: Resource, place: Place, listed: bool) -> Place:
        """The place of what is inside; a contained resource is a resource again."""
        if isinstance(value.get("resourceType"), str):
            return replace(Place.of(value, within=place.root), listed=listed, suffix=place.suffix)
        return replace(place, listed=listed, many=False)

    def _add(self, target: Resource, field: Field, place: Place, value: Any) -> None:
        name = field.alias + place.suffix
        if field.directive("singleton") is not None:
            if name in target:
                raise Unprocessable(f"'{name}' has several values, and @singleton allows one.", expression=name)
            target[name] = value
        elif place.many or place.listed:
            target.setdefault(name, []).append(value)
        else:
            target[name] = value

    def _element(self, value: Resource, place: Place, name: str) -> tuple[list[Any], Place]:
        """The values of an element, primitives' extensions (_name) and choices (value for valueQuantity) among them."""
        definitions = self.fields.definitions
        properties = definitions.properties(place.path)
        found = properties.get(name)
        key = name
        if found is None and name.startswith("_") and name[1:] in properties:
            many = properties[name[1:]].element.many
            return _listed(value.get(name)), replace(
                place, type="Element", path="Element", many=many, is_resource=False
            )
        if found is None:
            spelled = {
                one: each for one, each in properties.items() if each.element.choice and each.element.name == name
            }
            if not spelled:
                what = place.type or place.path
                raise BadRequest(f"{what} has no element '{name[:64]}'.", expression=f"{what}.{name[:64]}")
            key = next((one for one in spelled if one in value), next(iter(spelled)))
            found = spelled[key]
        inner = replace(
            place, type=found.type, path=found.children, many=found.element.many, is_resource=False,
        )  # fmt: skip
        return _listed(value.get(key)), inner

    def _filtered(self, values: list[Any], field: Field, place: Place) -> Iterator[Any]:
        """The values that the arguments leave: fhirpath, elements' values, _offset and _count."""
        arguments = self.fields.arguments(field)
        start, count = _whole(arguments.pop("_offset", 0)), _whole(arguments.pop("_count", len(values)))
        condition = arguments.pop("fhirpath", None)
        expression = compile_expression(str(condition)) if condition is not None else None
        if (arguments or condition is not None or field.arguments) and not place.many:
            raise BadRequest(f"{field.name} is no list: it takes no arguments.", expression=field.name)
        kept = [
            value
            for value in values
            if (expression is None or self._gives(expression, value, place) == [True])
            and all(self._equals(value, place, name, wanted) for name, wanted in arguments.items())
        ]
        yield from kept[start : start + count]

    def _equals(self, value: Any, place: Place, name: str, wanted: Any) -> bool:
        if not isinstance(value, dict):
            raise BadRequest(f"A simple value can be chosen by fhirpath, not by '{name[:64]}'.", expression=name[:64])
        found, _ = self._element(value, place, name)
        return any(str(one) == str(wanted) for one in found)

    def _gives(self, expression: Expression, value: Any, place: Place) -> list[Any]:
        found = expression.evaluate(
            Node(value, place.type, place.path), model=self.fields.definitions, budget=self.budget
        )
        return [plain_value(item) for item in found]

    def _sliced(self, value: Any, field: Field, place: Place, number: int) -> str:
        """What @slice puts behind the name of a value."""
        text = self.fields.slice(field)
        if not text:
            return ""
        if text == "$index":
            return f".{number}"
        return "".join(f".{one}" for one in self._gives(compile_expression(text), value, place)[:1])


def _listed(found: Any) -> list[Any]:
    """The values of one property; what has only extensions is no value."""
    return [one for one in (found if isinstance(found, list) else [found]) if one is not None]


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadRequest("_offset and _count are whole numbers, 0 or more.")
    return value
