"""The RESTful API as OpenAPI 3.1, made from the same tables as the CapabilityStatement. https://hl7.org/fhir/R4/http.html

Every resource type has its own paths with its own search parameters; the schemas are those of the standard's elements.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from server.fhir.definitions import Definitions, Property, SearchParameter
from server.interactions.route import INTERACTIONS
from server.operations.operation import Operation
from server.search.criteria import MODIFIERS
from server.search.index import kind_of, searchable

Json = dict[str, Any]
_FHIR = "application/fhir+json"
_PATCH = "application/json-patch+json"
_FORM = "application/x-www-form-urlencoded"
#: Parameters of results, and those that every type is searched by: https://hl7.org/fhir/R4/search.html#summary
_RESULTS = ("_count", "_elements", "_filter", "_include", "_list", "_revinclude", "_sort", "_summary", "_total",
            "_contained", "_containedType", "_has:Type:reference:parameter")  # fmt: skip
_OF_HISTORY = ("_count", "_since", "_at")
_HEADERS = {
    "Prefer": ("create", "update", "patch", "search-type", "search-system"),
    "If-Match": ("update", "patch", "delete"),
    "If-None-Match": ("read", "vread"),
    "If-None-Exist": ("create",),
}
#: What each interaction answers besides 400, 401, 403 and 503.
_STATUS: Mapping[str, tuple[int, ...]] = {
    "read": (200, 304, 404, 410), "vread": (200, 304, 404, 410), "create": (200, 201, 412, 413, 422),
    "update": (200, 201, 409, 412, 413, 422), "patch": (200, 404, 409, 410, 412, 413, 422),
    "delete": (204, 409, 412, 413), "search-type": (200, 404, 410, 413), "search-system": (200, 410, 413),
    "history-instance": (200, 404), "history-type": (200, 404), "history-system": (200, 404),
    "transaction": (200, 404, 409, 410, 412, 413, 422), "operation": (200, 202, 404, 409, 410, 412, 413, 422),
}  # fmt: skip
_ALWAYS = (400, 401, 403, 406, 415, 503)
#: JSON types of the primitives that are no strings.
_PRIMITIVES = {
    "boolean": "boolean", "integer": "integer", "positiveInt": "integer", "unsignedInt": "integer", "decimal": "number",
}  # fmt: skip
_ID = {"name": "id", "in": "path", "required": True, "schema": {"$ref": "#/components/schemas/id"}}
#: A condition, or a search within a compartment: any parameters of the type.
_CRITERIA = {
    "name": "criteria", "in": "query", "style": "form", "explode": True, "description": "As of the search of the type.",
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
}  # fmt: skip
_VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}}


def openapi(definitions: Definitions, *, base_url: str, version: str, operations: Sequence[Operation] = ()) -> Json:
    """The document; paths are below ``base_url``."""
    paths: dict[str, Json] = {
        "/metadata": {"get": _operation("capabilities", "", (200,))},
        "/": {"post": _operation("transaction", "", _STATUS["transaction"]) | {"requestBody": _body("Bundle")}},
    }
    for (method, shape), (code, _) in INTERACTIONS.items():
        for path, kind, within in _places(definitions, shape):
            made = _interaction(definitions, shape, code, kind, within)
            paths.setdefault(path, {})[method.lower()] = made
    for one in operations:
        for path, kind in _called_at(definitions, one):
            for method in ("post", "get") if one.safe else ("post",):
                paths.setdefault(path, {})[method] = _call(definitions, one, path, kind, method)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Hutong, FHIR {definitions.version}", "version": version},
        "servers": [{"url": base_url}],
        "paths": paths,
        "components": {"schemas": _schemas(definitions), "responses": _responses()},
    }


def _places(definitions: Definitions, shape: str) -> Iterator[tuple[str, str, str]]:
    """Paths of one shape, with the type that is asked for and the compartment that it is asked in."""
    inside, _, rest = shape.removeprefix("type/id/").partition("/")
    if shape.startswith("type/id/") and inside in ("type", "*", "_search"):
        for name in definitions.tables["compartment"]:
            kinds = definitions.compartment(name) if inside == "type" else ("",)
            end = f"/{rest}" if rest else ""
            yield from ((f"/{name}/{{id}}/{kind or inside}{end}", kind, name) for kind in kinds)
    elif not shape.startswith("type"):
        yield f"/{shape}", "", ""
    else:
        rest = shape.removeprefix("type").replace("/id", "/{id}").replace("/version", "/{version}")
        yield from ((f"/{kind}{rest}", kind, "") for kind in definitions.resource_types)


def _interaction(definitions: Definitions, shape: str, code: str, kind: str, within: str) -> Json:
    """One interaction on one type, or on the system."""
    conditional = shape == "type" and code in ("update", "patch", "delete")
    by_post = shape.endswith("_search")
    name = f"{'conditional-' if conditional else ''}{code}{'-by-post' if by_post else ''}"
    parameters: list[Json] = [*((_ID,) if "/id" in shape else ()), *((_VERSION,) if "version" in shape else ())]
    parameters += (_text(header, "header") for header, of in _HEADERS.items() if code in of)
    if conditional or within:
        parameters.append(_CRITERIA)
    elif code.startswith("search") and not by_post:
        parameters += _searched(definitions, kind)
    elif code.startswith("history"):
        parameters += (_text(each, "query") for each in _OF_HISTORY)
    made = _operation(f"{name}-{kind}{f'-of-{within}' if within else ''}".rstrip("-"), kind, _STATUS[code])
    if by_post:
        form = {"schema": {"type": "object", "additionalProperties": {"type": "string"}}}
        made["requestBody"] = {"description": "Parameters as of the search by GET.", "content": {_FORM: form}}
    elif code in ("create", "update"):
        made["requestBody"] = _body(kind)
    elif code == "patch":
        patch = {"type": "array", "items": {"$ref": "#/components/schemas/JsonPatch"}}
        content = {_PATCH: {"schema": patch}} | _body("Parameters")["content"]
        made["requestBody"] = {"required": True, "content": content}
    return made | {"parameters": parameters}


def _operation(name: str, kind: str, statuses: Sequence[int]) -> Json:
    codes = sorted({*statuses, *_ALWAYS})
    responses = {str(code): {"$ref": f"#/components/responses/{code}"} for code in codes}
    return {"operationId": name, "tags": [kind or "system"], "parameters": [], "responses": responses}


def _searched(definitions: Definitions, kind: str) -> Iterator[Json]:
    """The query parameters of a search of one type, or of all."""
    for name, found in sorted(searchable(definitions, kind or "Resource").items()):
        yield _text(name, "query", _said(found))
    yield from (_text(name, "query") for name in (*_RESULTS, *(() if kind else ("_type",))))


def _said(found: SearchParameter) -> str:
    modifiers = sorted(MODIFIERS.get(kind_of(found) or found.type, frozenset()) | {"missing"})
    return f"{found.type}; {', '.join(':' + name for name in modifiers)}"


def _text(name: str, where: str, description: str = "") -> Json:
    found: Json = {"name": name, "in": where, "schema": {"type": "string"}}
    return found | {"description": description} if description else found


def _body(kind: str) -> Json:
    return {"required": True, "content": {_FHIR: {"schema": {"$ref": f"#/components/schemas/{kind}"}}}}


def _responses() -> Json:
    found: dict[str, Json] = {}
    for code, meaning in _MEANS.items():
        found[str(code)] = {"description": meaning}
        if code not in (204, 304):
            # Prefer: return= may ask for no body or an OperationOutcome in the place of a resource.
            name = "OperationOutcome" if code >= 400 else "Resource"
            found[str(code)]["content"] = {_FHIR: {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    return found


_MEANS = {
    200: "done", 201: "created", 202: "taken on", 204: "deleted, or nothing was there", 304: "not modified",
    400: "not understood", 401: "no valid token", 403: "the token does not allow it", 404: "not there",
    406: "no such format", 409: "a conflict with another change", 410: "deleted",
    412: "a precondition does not hold", 413: "too costly", 415: "no such content type",
    422: "a rule of the standard is broken", 503: "not now",
}  # fmt: skip


def _called_at(definitions: Definitions, one: Operation) -> Iterator[tuple[str, str]]:
    types = (one.resource_type,) if one.resource_type else definitions.resource_types
    if "system" in one.levels:
        yield f"/{one.name}", ""
    for level, place in (("type", ""), ("instance", "/{id}")):
        if level in one.levels:
            yield from ((f"/{kind}{place}/{one.name}", kind) for kind in types)


def _call(definitions: Definitions, one: Operation, path: str, kind: str, method: str) -> Json:
    row = definitions.operations.get(one.canonical, {})
    level = "-instance" if "{id}" in path else ""
    made = _operation(f"{method}-{one.name}-{kind or 'system'}{level}", kind, _STATUS["operation"])
    made["parameters"] = [_ID] if level else []
    if method == "get":
        inward = (each["name"] for each in row.get("parameters", ()) if each["use"] == "in")
        made["parameters"] += (_text(name, "query") for name in inward)
    else:
        made["requestBody"] = _body("Parameters") | {"required": False}
    return made


def _schemas(definitions: Definitions) -> Json:
    """The types of the standard, and the elements that are defined in place."""
    found: Json = {"Resource": {"type": "object", "required": ["resourceType"]}, "JsonPatch": _JSON_PATCH}
    for name, definition in definitions.types.items():
        if definition.kind == "primitive-type":
            found[name] = {"type": _PRIMITIVES.get(name, "string")}
            if definition.regex and name not in _PRIMITIVES:
                found[name]["pattern"] = f"^(?:{definition.regex})$"
    waiting = [name for name, definition in definitions.types.items() if definition.kind != "primitive-type"]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found[path] = _object(definitions, path)
        below = {each.children for each in definitions.properties(path).values()}
        waiting += sorted(below - set(found) - {"xhtml"})
    return {name.replace("[x]", ""): schema for name, schema in found.items()}


def _object(definitions: Definitions, path: str) -> Json:
    properties: Json = {"resourceType": {"const": path}} if definitions.is_resource(path) else {}
    required = ["resourceType"] if properties else []
    for name, one in definitions.properties(path).items():
        properties[name] = _value(one)
        if one.element.min and not one.element.choice:
            required.append(name)
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


def _value(one: Property) -> Json:
    name = one.children.replace("[x]", "")
    schema: Json = {"$ref": f"#/components/schemas/{'Resource' if name == 'DomainResource' else name}"}
    return {"type": "array", "minItems": 1, "items": schema} if one.element.many else schema


_JSON_PATCH: Json = {
    "type": "object",
    "required": ["op", "path"],
    "properties": {
        "op": {"enum": ["add", "remove", "replace", "move", "copy", "test"]},
        "path": {"type": "string"},
        "from": {"type": "string"},
        "value": {},
    },
}
