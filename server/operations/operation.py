"""What an operation is asked and what it is: https://hl7.org/fhir/R4/operations.html#executing"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from server.errors import BadRequest
from server.security.access import Access


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """The answer of an operation whose work goes on: https://hl7.org/fhir/R4/async.html"""

    #: Where its state is told, as the client sees it.
    location: str
    details: str


#: A resource, or where to ask for the outcome.
Outcome = dict[str, Any] | Accepted


@dataclass(frozen=True, kw_only=True, slots=True)
class OperationRequest:
    """One call of an operation."""

    access: Access
    #: "" on the system.
    resource_type: str = ""
    #: "" on the system or a type.
    id: str = ""
    #: Of the URL's query.
    parameters: tuple[tuple[str, str], ...] = ()
    #: The body: Parameters, or the resource that is the operation's one parameter.
    resource: dict[str, Any] | None = None
    #: The server's base URL as the client sees it.
    base_url: str = ""
    #: Prefer: respond-async.
    respond_async: bool = False
    #: Prefer: handling=lenient.
    lenient: bool = False

    def values(self, name: str) -> Iterator[Any]:
        """Every value of a parameter, from the query and from Parameters (its value[x] or resource)."""
        yield from (value for code, value in self.parameters if code == name)
        body = self.resource or {}
        parts = body.get("parameter", ()) if body.get("resourceType") == "Parameters" else ()
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict) and part.get("name") == name:
                found = [value for key, value in part.items() if key.startswith("value") or key == "resource"]
                if not found:
                    raise BadRequest(f"The parameter '{name}' has no value.", expression=name)
                yield found[0]

    def value(self, name: str, default: Any = None) -> Any:
        """The first value of a parameter."""
        return next(self.values(name), default)


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One operation that is served."""

    #: With its $.
    name: str
    #: Canonical of its OperationDefinition.
    canonical: str
    #: The type that it is defined on; "" for the system or for all types.
    resource_type: str = ""
    #: Where it may be called: system, type, instance.
    levels: frozenset[str]
    #: Whether it may be called by GET: it changes nothing.
    safe: bool = True
    run: Callable[[OperationRequest], Outcome]

    def serves(self, name: str, resource_type: str, level: str) -> bool:
        """Whether this is what a URL calls."""
        return name == self.name and level in self.levels and self.resource_type in ("", resource_type)
