"""$graphql on the system and on a resource: https://hl7.org/fhir/R4/graphql.html, read only.

What fields there are, and of which type, the standard's tables say. The answer is all or nothing: what can't be given
is an error. Its OperationDefinition gives a Binary, which the HTTP edge unwraps.
"""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from server.errors import BadRequest, Gone, NotFound, TooLarge
from server.fhir import json_format
from server.fhir.fhirpath import Budget
from server.fhir.graphql import Field, parse
from server.operations.definition import Call, defined
from server.operations.graphql_fields import Fields, chosen, variables
from server.operations.graphql_values import Place, Values
from server.operations.operation import Operation
from server.repository import Repository, Transaction
from server.search.reference import LITERAL

Resource = dict[str, Any]

_CANONICAL = "http://hl7.org/fhir/OperationDefinition/Resource-graphql"
#: Of one query.
MOST_SEARCHES = 100
MOST_RESOURCES = 10_000
_STEPS = 5_000_000
_OTHERS = frozenset({"operationName", "variables"})


def operation(repository: Repository) -> Operation:
    """On the system and on every resource."""

    def run(call: Call) -> Resource:
        with repository.reading(call.access) as transaction:
            data = answer(transaction, call)
        body = b64encode(json_format.write({"data": data})).decode()
        return {"resourceType": "Binary", "contentType": "application/json", "data": body}

    return defined(repository, _CANONICAL, run, others=_OTHERS.__contains__)


def answer(transaction: Transaction, call: Call) -> Resource:
    """The data that a query asks for."""
    document = parse(str(call.one("query")))
    others = dict(call.others)
    asked = chosen(document, others.get("operationName", ""))
    given = json_format.parse_any((others.get("variables") or "{}").encode())
    if not isinstance(given, dict):
        raise BadRequest("variables is an object: name -> value.", expression="variables")
    fields = Fields(document=document, definitions=transaction.definitions, variables=variables(asked, given))
    query = _Query(transaction, fields, call.base_url)
    if call.id:
        root = query.read(call.resource_type, call.id)
        return query.values.object(root, Place.of(root), asked.selections)
    return query.system(fields.of(asked.selections, "Query"))


class _Query:
    """One query being answered, at one moment."""

    def __init__(self, transaction: Transaction, fields: Fields, base_url: str) -> None:
        self._transaction = transaction
        self._fields = fields
        self._base = f"{base_url}/"
        self._searches = 0
        self._resources: dict[tuple[str, str], Resource] = {}
        self.values = Values(fields=fields, navigate=self._navigate, budget=Budget(_STEPS))

    def system(self, fields: tuple[Field, ...]) -> Resource:
        """What is asked of the system: a resource by its id, lists and connections."""
        found: Resource = {}
        for field in fields:
            if field.name == "__typename":
                found[field.alias] = "Query"
            elif self._transaction.definitions.is_resource(field.name):
                found[field.alias] = self._by_id(field)
            elif not self._list(field, found, None):
                raise BadRequest(
                    f"The system has no field '{field.name[:64]}'; there are Patient(id:), PatientList(),"
                    " PatientConnection() and the like of every type.",
                    expression=field.name[:64],
                )
        return found

    def read(self, kind: str, id: str) -> Resource:
        """A resource, read once; NotFound or Gone where it is not there."""
        if (kind, id) not in self._resources:
            self._count(1)
            self._resources[kind, id] = self._transaction.read(kind, id)
        return self._resources[kind, id]

    def _count(self, more: int) -> None:
        if len(self._resources) + more > MOST_RESOURCES:
            raise TooLarge(f"The query reads more than {MOST_RESOURCES} resources; ask for less.")

    def _by_id(self, field: Field) -> Resource:
        arguments = self._fields.arguments(field)
        if set(arguments) != {"id"}:
            raise BadRequest(f"{field.name} takes an id; {field.name}List takes search parameters.", expression="id")
        found = self.read(field.name, str(arguments["id"]))
        return self.values.object(found, Place.of(found), field.selections)

    def _navigate(self, field: Field, value: Any, place: Place, target: Resource) -> bool:
        """What leads from one resource to others; whether the field does."""
        if place.type == "Reference" and field.name == "resource":
            if (found := self._referred(field, value, place)) is not None:
                inside = str(value.get("reference", "")).startswith("#")
                there = Place.of(found, within=place.root if inside else None)
                there = replace(there, listed=place.listed, suffix=place.suffix)
                self.values.put([found], field, there, target)
            return True
        return place.is_resource and "id" in value and self._list(field, target, value)

    def _referred(self, field: Field, value: Resource, place: Place) -> Resource | None:
        """What a Reference means; None where it may be missing, or is of another type than asked for."""
        arguments = self._fields.arguments(field)
        unknown = set(arguments) - {"optional", "type"}
        if unknown:
            raise BadRequest(f"resource takes optional and type, not '{min(unknown)[:64]}'.", expression="resource")
        text = str(value.get("reference", ""))
        try:
            found = self._resolved(text, place)
        except (NotFound, Gone):
            if arguments.get("optional") is True:
                return None
            raise
        wanted = arguments.get("type")
        return found if wanted in (None, found["resourceType"]) else None

    def _resolved(self, text: str, place: Place) -> Resource:
        if text.startswith("#"):
            inside = (one for one in place.root.get("contained", ()) if one.get("id") == text[1:])
            contained = next(inside, None)
            if contained is None:
                raise NotFound("A reference names a contained resource that is not there.")
            return dict(contained)
        literal = LITERAL.fullmatch(text)
        if literal is None or literal["base"] not in (None, self._base):
            raise NotFound("A reference leads away from this server, or is none; say resource(optional: true).")
        return self.read(literal["type"], literal["id"])

    def _list(self, field: Field, target: Resource, about: Resource | None) -> bool:
        """PatientList(...) and PatientConnection(...), of the system or of what refers to a resource."""
        for ending, show in (("List", self._plain), ("Connection", self._connection)):
            kind = field.name.removesuffix(ending)
            if kind != field.name and self._transaction.definitions.is_resource(kind):
                show(field, kind, target, about)
                return True
        return False

    def _plain(self, field: Field, kind: str, target: Resource, about: Resource | None) -> None:
        found, _, _ = self._search(field, kind, about)
        self.values.put(found, field, Place(type=kind, path=kind, many=True, root={}), target)

    def _connection(self, field: Field, kind: str, target: Resource, about: Resource | None) -> None:
        found, total, following = self._search(field, kind, about, total=True)
        whole = {
            "count": total,
            "pagesize": len(found),
            "next": following or None,
            "edges": [{"mode": "match", "resource": one} for one in found],
        }
        target[field.alias] = self._shown(field, whole)

    def _shown(self, field: Field, whole: Resource) -> Resource:
        """A connection's fields; those that a list without positions can't know are null."""
        shown: Resource = {}
        for one in self._fields.of(field.selections, "Connection"):
            if one.name in ("first", "previous", "last", "offset", "score"):
                shown[one.alias] = None
            elif one.name == "edges" and "edges" in whole:
                shown[one.alias] = [self._shown(one, edge) for edge in whole["edges"]]
            elif one.name == "resource" and "resource" in whole:
                resource = whole["resource"]
                shown[one.alias] = self.values.object(resource, Place.of(resource), one.selections)
            elif one.name in whole:
                shown[one.alias] = whole[one.name]
            else:
                raise BadRequest(f"A connection has no field '{one.name[:64]}'.", expression=one.name[:64])
        return shown

    def _search(
        self, field: Field, kind: str, about: Resource | None, *, total: bool = False
    ) -> tuple[list[Resource], int | None, str]:
        self._searches += 1
        if self._searches > MOST_SEARCHES:
            raise TooLarge(f"The query searches more than {MOST_SEARCHES} times; ask for less.")
        arguments = self._fields.arguments(field)
        parameters = list(_parameters(arguments))
        if about is not None:
            if not isinstance(arguments.get("_reference"), str):
                raise BadRequest(
                    f"{field.name} of a resource needs _reference: the search parameter that leads to it.",
                    expression="_reference",
                )
            parameters.append((arguments["_reference"], f"{about['resourceType']}/{about['id']}"))
        if total:
            parameters.append(("_total", "accurate"))
        result = self._transaction.search(kind, parameters)
        self._count(len(result.matches))
        found = [json_format.parse(one.body) for one in result.matches]
        for one in found:
            self._resources.setdefault((one["resourceType"], one["id"]), one)
        return found, result.total, result.next


def _parameters(arguments: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Search parameters: GraphQL's names have _ where FHIR's have -; the values of a list are alternatives."""
    for name, value in arguments.items():
        if name != "_reference":
            code = "_page" if name == "_cursor" else name[:1] + name[1:].replace("_", "-")
            yield code, ",".join(map(_text, value if isinstance(value, list) else [value]))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        raise BadRequest("A search parameter's value is text, a number, true or false.")
    return str(value).lower() if isinstance(value, bool) else str(value)
