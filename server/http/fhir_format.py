"""The formats of FHIR resources over HTTP, JSON and XML: https://hl7.org/fhir/R4/http.html#mime-type"""

from functools import lru_cache

from fastapi import Request

from server.errors import HutongError, NotAcceptable, UnsupportedMedia
from server.fhir import json_format, xml_format
from server.fhir.definitions import Definitions, load
from server.http import media_type

JSON, XML = "json", "xml"
MEDIA_TYPES = {JSON: "application/fhir+json; charset=utf-8", XML: "application/fhir+xml; charset=utf-8"}
#: What a client may call the formats, in _format, Accept and Content-Type.
_NAMES = {
    **dict.fromkeys(("application/fhir+json", "application/json", "text/json", "json"), JSON),
    **dict.fromkeys(("application/fhir+xml", "application/xml", "text/xml", "xml"), XML),
}
_ANY = {"*/*": JSON, "application/*": JSON}
#: The parameter fhirVersion: https://hl7.org/fhir/R4/http.html#version-parameter
_VERSIONS = ("", "4.0", "4.0.1")
#: Characters of an Accept header that is remembered.
_LONGEST_KEPT = 500
_ASK = "JSON and XML are spoken here: ask for application/fhir+json or application/fhir+xml, fhirVersion 4.0"


def wanted(request: Request, parameter: str | None = None) -> str:
    """The format that the client takes; ``_format`` decides before Accept. NotAcceptable where it takes neither."""
    asked = request.query_params.get("_format", "") if parameter is None else parameter
    if asked:
        # A plus sign in a query is a space once it is decoded.
        name, _, rest = asked.partition(";")
        found = _NAMES.get(name.strip().replace(" ", "+").lower())
        if found is None or _version(rest) not in _VERSIONS:
            raise NotAcceptable(f"{_ASK}.", expression="_format")
        return found
    header = request.headers.get("accept", "")
    found = _accepted(header) if len(header) <= _LONGEST_KEPT else _accepted.__wrapped__(header)
    if found is None:
        raise NotAcceptable(f"{_ASK}.", expression="Accept")
    return found


@lru_cache(maxsize=256)
def _accepted(header: str) -> str | None:
    """The format that an Accept header takes; a client sends the same one again and again."""
    for one in media_type.accepted(header):
        found = _NAMES.get(one.type) or _ANY.get(one.type)
        if found and one.parameters.get("fhirversion", "") in _VERSIONS:
            return found
    return None


def _version(parameters: str) -> str:
    """The parameter fhirVersion of a media type; empty where it has none."""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "fhirversion":
            return value.strip().strip('"')
    return ""


def wanted_by_refused(request: Request) -> str:
    """The format for an error: JSON where the client takes nothing that we speak."""
    try:
        return wanted(request)
    except HutongError:
        return JSON


def resource_in(definitions: Definitions, request: Request, body: bytes) -> dict[str, object]:
    """The resource that the body holds in the format that Content-Type names; JSON where it names none."""
    name, _, rest = request.headers.get("content-type", "application/fhir+json").partition(";")
    found = _NAMES.get(name.strip().lower())
    if found is None or _version(rest) not in _VERSIONS:
        raise UnsupportedMedia(
            "Send the resource as application/fhir+json or application/fhir+xml, fhirVersion 4.0.",
            expression="Content-Type",
        )
    return xml_format.parse(definitions, body) if found == XML else json_format.parse(body)


def written(body: bytes, form: str, definitions: Definitions | None = None) -> bytes:
    """A resource's JSON in the format that is wanted; ``definitions`` are R4's where none are given."""
    if form == JSON or not body:
        return body
    return xml_format.write(definitions or load(), json_format.parse(body))
