"""What an interaction is asked and what it answers."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from server.fhir import json_format
from server.fhir.outcome import information
from server.repository import Written
from server.search import url
from server.store.resources import Stored


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One FHIR request, from HTTP or from an entry of a Bundle."""

    #: GET, POST, PUT, PATCH or DELETE.
    method: str
    #: HEAD in a Bundle: a GET whose answer has no resource.
    is_head: bool = False
    #: The steps of the URL below the base, e.g. ("Patient", "1", "_history").
    path: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    resource: dict[str, Any] | None = None
    #: Of a PATCH: the operations of a JSON Patch, a MergePatch, or the Parameters of a FHIRPath Patch.
    patch: Any = None
    #: Version ids without ETag's quotes, with commas between several; "*" for any.
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: datetime | None = None
    #: A query.
    if_none_exist: str | None = None
    #: Prefer: return=minimal, representation or OperationOutcome; empty for the default.
    prefer_return: str = ""
    #: Prefer: handling=lenient.
    lenient: bool = False
    #: Prefer: respond-async.
    respond_async: bool = False
    #: The server's base URL as the client sees it, without a slash at the end.
    base_url: str = ""

    @property
    def resource_type(self) -> str:
        """The first step."""
        return self.path[0]

    @property
    def id(self) -> str:
        """The second step."""
        return self.path[1]

    @property
    def condition(self) -> str | None:
        """Of a create: If-None-Exist, or the query of the URL, which stands for it; None where there is neither."""
        if self.if_none_exist is not None:
            return self.if_none_exist
        asked = [pair for pair in self.parameters if pair[0] not in ("_format", "_pretty")]
        return url.encoded(asked) if asked else None

    def with_resource(self, resource: dict[str, Any]) -> Self:
        """The same request with another body."""
        return replace(self, resource=resource)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What an interaction came to."""

    status: int
    #: A resource as JSON; empty for none.
    body: bytes = b""
    #: Whether the body is an OperationOutcome about what was done, as Prefer asked for it.
    is_outcome: bool = False
    #: ETag and Last-Modified of what the body is a version of.
    version: str = ""
    last_modified: datetime | None = None
    #: Type/id/_history/version of what was written; empty where nothing was.
    location: str = ""
    #: Where the state of what goes on is told; empty where nothing does.
    content_location: str = ""


def of_stored(found: Stored, status: int = 200) -> Answer:
    """The answer that gives a stored version."""
    return Answer(status=status, body=found.body, version=str(found.version), last_modified=found.last_updated)


def of_written(written: Written, request: Request) -> Answer:
    """The answer to a create or update, as Prefer asks for it."""
    meta = written.resource["meta"]
    place = f"{written.resource['resourceType']}/{written.resource['id']}/_history/{meta['versionId']}"
    answer = Answer(
        status=201 if written.created else 200,
        version=meta["versionId"],
        last_modified=datetime.fromisoformat(meta["lastUpdated"]),
        location=place,
    )
    return preferred(answer, request, written.resource, f"{place} is stored.")


def preferred(answer: Answer, request: Request, resource: dict[str, Any] | None, done: str) -> Answer:
    """The answer with the body that Prefer: return= asks for; ``done`` is what an OperationOutcome says."""
    if request.prefer_return == "OperationOutcome":
        return replace(answer, body=json_format.write(information(done)), is_outcome=True)
    if request.prefer_return == "minimal" or resource is None:
        return answer
    return replace(answer, body=json_format.write(resource))


def has(versions: str | None, version: str) -> bool:
    """Whether a list of versions, as If-Match and If-None-Match have it, names this one."""
    return versions is not None and (versions == "*" or version in versions.split(","))
