"""Operations by their OperationDefinition: levels, and parameters read and checked as it says.

https://hl7.org/fhir/R4/operationdefinition.html; the rows come from fhir_profiles/base.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from server.errors import BadRequest, NotFound, UnknownParameter, Unprocessable
from server.fhir.definitions import Definitions
from server.operations.operation import Operation, OperationRequest, Outcome
from server.repository import Validate
from server.security.access import Access

#: Types whose values are JSON strings: one may stand for another, as clients mix them up and nothing is lost.
_TEXT = frozenset({
    "string", "code", "uri", "url", "canonical", "id", "oid", "uuid", "markdown", "date", "dateTime", "instant", "time",
    "base64Binary",
})  # fmt: skip
_WHOLE = {"integer": -(2**31), "unsignedInt": 0, "positiveInt": 1}
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call, its parameters checked."""

    access: Access
    resource_type: str
    #: "" on the system or a type.
    id: str
    base_url: str
    #: Parameter -> its values; of one that has parts a value maps each part to its values.
    arguments: Mapping[str, tuple[Any, ...]]
    #: Parameters of the query that the definition does not name, where the operation takes such.
    others: tuple[tuple[str, str], ...] = ()
    #: The whole query of the URL.
    query: tuple[tuple[str, str], ...] = ()
    #: Prefer: respond-async, and handling=lenient.
    respond_async: bool = False
    lenient: bool = False

    def all(self, name: str) -> tuple[Any, ...]:
        """Every value of a parameter."""
        return self.arguments.get(name, ())

    def one(self, name: str, default: Any = None) -> Any:
        """The value of a parameter that stands once at most."""
        return next(iter(self.all(name)), default)


class Rules(Protocol):
    """What calls are checked by; a Repository is one."""

    definitions: Definitions
    validate: Validate | None


def defined(
    rules: Rules,
    canonical: str,
    run: Callable[[Call], Outcome],
    *,
    safe: bool = True,
    levels: frozenset[str] | None = None,
    others: Callable[[str], bool] | None = None,
    judged: bool = True,
) -> Operation:
    """The operation that a definition describes; ``levels`` where not all of the definition's are served.

    ``others`` says which parameters of a query are taken besides the definition's; without ``judged`` what is sent may
    break the standard's rules.
    """
    definitions = rules.definitions
    row = definitions.operations[canonical]
    resource_type = next(iter(row.get("resource", ())), "Resource")

    def checked(request: OperationRequest) -> Outcome:
        if request.resource_type and not definitions.is_resource(request.resource_type):
            raise NotFound(f"There is no resource type '{request.resource_type[:64]}' in FHIR R4.")
        call = _call(definitions, row, request, others)
        if judged:
            _check_body(rules, request.resource)
        return run(call)

    return Operation(
        name=f"${row['code']}",
        canonical=canonical,
        resource_type="" if resource_type == "Resource" else resource_type,
        levels=levels or frozenset(level for level in ("system", "type", "instance") if row.get(level)),
        safe=safe,
        run=checked,
    )


def _check_body(rules: Rules, body: dict[str, Any] | None) -> None:
    """Unprocessable for a body that breaks the standard's rules: operations need not fear its form."""
    if body is not None and rules.validate is not None:
        issues = tuple(rules.validate(rules.definitions, body))
        if any(issue.severity in ("error", "fatal") for issue in issues):
            raise Unprocessable("What was sent breaks rules of FHIR R4.", issues=issues)


def _call(
    definitions: Definitions, row: Mapping[str, Any], request: OperationRequest, others: Callable[[str], bool] | None
) -> Call:
    rows = {one["name"]: one for one in row["parameters"] if one["use"] == "in"}
    arguments: dict[str, list[Any]] = {}
    rest = []
    for name, text in request.parameters:
        if name not in rows and others is not None and others(name):
            rest.append((name, text))
        else:
            arguments.setdefault(name, []).append(_of_query(definitions, _known(rows, name), text))
    for name, value in _of_body(definitions, rows, request.resource):
        arguments.setdefault(name, []).append(value)
    _check_counts(rows, arguments)
    return Call(
        access=request.access,
        resource_type=request.resource_type,
        id=request.id,
        base_url=request.base_url,
        arguments={name: tuple(values) for name, values in arguments.items()},
        others=tuple(rest),
        query=request.parameters,
        respond_async=request.respond_async,
        lenient=request.lenient,
    )


def _known(rows: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if name not in rows:
        listed = ", ".join(rows) or "no parameters"
        raise UnknownParameter(f"The operation takes {listed}, not '{name[:64]}'.", expression=name[:64])
    found: Mapping[str, Any] = rows[name]
    return found


def _check_counts(rows: Mapping[str, Any], arguments: Mapping[str, list[Any]]) -> None:
    for name, row in rows.items():
        count = len(arguments.get(name, ()))
        if count < row["min"]:
            raise BadRequest(f"The operation needs the parameter '{name}'.", expression=name)
        if row["max"] != "*" and count > int(row["max"]):
            raise BadRequest(f"The parameter '{name}' stands {row['max']} time at most.", expression=name)


def _of_query(definitions: Definitions, row: Mapping[str, Any], text: str) -> Any:
    kind, name = str(row.get("type", "")), row["name"]
    if kind == "boolean":
        if text not in _BOOLEANS:
            raise BadRequest(f"{name} is true or false.", expression=name)
        return _BOOLEANS[text]
    if kind in _WHOLE:
        if not re.fullmatch(r"-?[0-9]{1,10}", text, re.ASCII):
            raise BadRequest(f"{name} is a whole number.", expression=name)
        return _simple(definitions, row, int(text))
    if kind not in _TEXT:
        raise BadRequest(f"{name} is no simple value: send it in Parameters by POST.", expression=name)
    return _simple(definitions, row, text)


def _simple(definitions: Definitions, row: Mapping[str, Any], value: Any) -> Any:
    """A primitive value, of the form that its type has."""
    kind, name = str(row["type"]), row["name"]
    if kind in _WHOLE and (not isinstance(value, int) or isinstance(value, bool) or value < _WHOLE[kind]):
        raise BadRequest(f"{name} is a whole number, {_WHOLE[kind]} at least.", expression=name)
    if kind == "boolean" and not isinstance(value, bool):
        raise BadRequest(f"{name} is true or false.", expression=name)
    pattern = definitions.types[kind].regex
    if kind in _TEXT and (not isinstance(value, str) or (pattern and not re.fullmatch(pattern, value))):
        raise BadRequest(f"{name} is no {kind}.", expression=name)
    return value


def _of_body(
    definitions: Definitions, rows: Mapping[str, Any], body: dict[str, Any] | None
) -> Iterator[tuple[str, Any]]:
    """The parameters in Parameters, or the resource that is the only one that the operation can mean."""
    if body is None:
        return
    if body.get("resourceType") == "Parameters":
        yield from _parts(definitions, rows, body.get("parameter", []), "Parameters.parameter")
        return
    fitting = [name for name, row in rows.items() if row.get("type") in (body.get("resourceType"), "Resource", "Any")]
    if len(fitting) != 1:
        raise BadRequest("Send the parameters as Parameters.", expression="resourceType")
    yield fitting[0], body


def _parts(definitions: Definitions, rows: Mapping[str, Any], given: Any, where: str) -> Iterator[tuple[str, Any]]:
    for place, part in enumerate(given if isinstance(given, list) else [given]):
        if not isinstance(part, dict) or not isinstance(part.get("name"), str):
            raise BadRequest("Every parameter is an object with a name.", expression=f"{where}[{place}]")
        row = _known(rows, part["name"])
        yield row["name"], _of_part(definitions, row, part, f"{where}[{place}]")


def _of_part(definitions: Definitions, row: Mapping[str, Any], part: dict[str, Any], where: str) -> Any:
    if "parts" in row:
        inner = {one["name"]: one for one in row["parts"]}
        found: dict[str, list[Any]] = {}
        for name, value in _parts(definitions, inner, part.get("part", []), f"{where}.part"):
            found.setdefault(name, []).append(value)
        return {name: tuple(values) for name, values in found.items()}
    kind = str(row.get("type", "Any"))
    if kind == "Resource" or definitions.is_resource(kind):
        resource = part.get("resource")
        if not isinstance(resource, dict) or kind not in ("Resource", resource.get("resourceType")):
            raise BadRequest(f"The parameter '{row['name']}' is a {kind}.", expression=where)
        return resource
    key = next((key for key in part if key.startswith("value")), "")
    given = key.removeprefix("value")
    if kind in ("Any", "Element") and key:
        return part[key]
    if given[:1].lower() + given[1:] not in (_TEXT if kind in _TEXT else {kind}) and given != kind:
        raise BadRequest(f"The parameter '{row['name']}' is a {kind}.", expression=where)
    definition = definitions.types.get(kind)
    if definition is not None and definition.kind == "primitive-type":
        return _simple(definitions, row, part[key])
    if not isinstance(part[key], dict):
        raise BadRequest(f"The parameter '{row['name']}' is a {kind}.", expression=where)
    return part[key]
