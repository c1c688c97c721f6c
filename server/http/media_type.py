"""Media types and Accept headers (RFC 9110 8.3.1 and 12.5.1), with the parameter forms that DICOM clients send."""

import re
from dataclasses import dataclass, field

from fastapi import Request

from server.errors import BadRequest

_PARAMETER = re.compile(r';\s*([!#$%&\'*+.^_`|~\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;,]*))')
#: What stands between commas that are outside quotation marks.
_ELEMENT = re.compile(r'(?:[^",]++|"(?:[^"\\]|\\.)*+"?)++')
#: Media ranges of one header.
_MOST = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaType:
    """One media range with its parameters (names in lower case)."""

    #: In lower case, e.g. "multipart/related"; "*/*" for anything.
    type: str
    parameters: dict[str, str] = field(default_factory=dict)
    #: Quality, 0 to 1.
    q: float = 1.0

    @property
    def related(self) -> str:
        """The type parameter of multipart/related: what the parts are."""
        return self.parameters.get("type", "").lower()

    @property
    def transfer_syntax(self) -> str:
        """The transfer-syntax parameter (PS3.18 8.7.3.5.2); "*" for as it is stored."""
        return self.parameters.get("transfer-syntax", "")


def parse(header: str) -> MediaType:
    """One media type; raises BadRequest where it is none."""
    name = header.split(";", 1)[0].strip().lower()
    if name == "*":
        name = "*/*"
    if not re.fullmatch(r"[^\s/;,]+/[^\s/;,]+", name):
        raise BadRequest(f"'{name}' is no media type.", expression="Accept")
    parameters: dict[str, str] = {}
    for match in _PARAMETER.finditer(header[len(header.split(";", 1)[0]) :]):
        quoted, plain = match[2], match[3]
        parameters[match[1].lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else (plain or "").strip()
    # Unquoted `type=application/dicom; transfer-syntax=...` parses as parameters all the same.
    return MediaType(type=name, parameters=parameters, q=_quality(parameters.pop("q", "1")))


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError as error:
        raise BadRequest("A quality in Accept is no number from 0 to 1.", expression="Accept") from error


def accepted(header: str) -> list[MediaType]:
    """What an Accept header takes, best first, of equals the more specific; an empty header takes anything."""
    parts = [part for part in _ELEMENT.findall(header) if part.strip()]
    if len(parts) > _MOST:
        raise BadRequest(f"More than {_MOST} media types are asked for.", expression="Accept")
    ranges = [parse(part) for part in parts] or [MediaType(type="*/*")]
    return sorted((r for r in ranges if r.q > 0), key=lambda r: (-r.q, _breadth(r.type)))


def asked(request: Request) -> list[MediaType]:
    """What the request takes; the parameter ``accept`` of the URL speaks for whoever can't set headers, e.g. a link.

    PS3.18 8.3.3.1.
    """
    return accepted(request.query_params.get("accept") or request.headers.get("accept", ""))


def _breadth(name: str) -> int:
    return 2 if name == "*/*" else 1 if name.endswith("/*") else 0
