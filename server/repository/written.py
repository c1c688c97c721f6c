"""What writes come to, and what is asked before and after them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from server.errors import Issue
from server.fhir.definitions import Definitions
from server.search.find import Search
from server.security.access import Access

Resource = dict[str, Any]
Parameters = Sequence[tuple[str, str]]
#: What is wrong with a resource by the standard's rules; server.fhir.validate is one.
Validate = Callable[[Definitions, Resource], Sequence[Issue]]


class Writing(Protocol):
    """What a rule on writes may ask of the transaction; a ``Transaction`` is one."""

    access: Access

    @property
    def matching(self) -> Search:
        """What resources in memory are held against by search parameters."""


#: A rule of the house on writes: (transaction, new, version before or None) raises when it is broken.
Check = Callable[[Writing, Resource, Resource | None], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What a write came to."""

    resource: Resource
    #: Whether there was no current version before.
    created: bool
    #: Whether there is a new version; an update with the same content is none.
    changed: bool
