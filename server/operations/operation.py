"""What an operation is asked and what it is: https://hl7.org/fhir/R4/operations.html#executing"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
        of_type = level == "system" or self.resource_type in ("", resource_type)
        return name == self.name and level in self.levels and of_type
