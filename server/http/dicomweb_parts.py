"""How the parts of an answer leave: alone or in multipart/related, by name where they are stored, else as they come."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from server.http import multipart_related
from server.http.conditional import CACHE, is_known
from server.http.dicomweb_services import DicomWeb
from server.http.multipart_related import Part
from server.http.stored_response import Body, stored
from server.security.access import Access


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Parts on their way out."""

    parts: Iterator[Part]
    #: Strong entity tag of the whole.
    tag: str
    #: What the parts are; several kinds are told by each part's own head.
    media_type: str
    #: The first part without multipart around it.
    alone: bool = False
    #: Nothing is made, so lengths and ranges are known.
    as_stored: bool = True

    def response(self, request: Request, services: DicomWeb, access: Access) -> Response:
        """The answer to this request."""
        boundary = self.tag.strip('"')
        several = multipart_related.media_type(self.media_type, boundary)
        if self.as_stored:
            give = partial(stored, request, open_pack=partial(services.retrieve.open, access), tag=self.tag)
            if self.alone:
                part = next(self.parts)
                return give(Body(tuple(part.content)), media_type=part.content_type)
            return give(multipart_related.body(self.parts, boundary), media_type=several)
        headers = {**CACHE, "ETag": self.tag, "Vary": "Accept"}
        if is_known(request, self.tag):
            return Response(None, 304, headers)
        content = partial(services.retrieve.content, access)
        # Where it can't be done the client hears it before the first byte.
        first = next(self.parts)
        if self.alone:
            return Response(b"".join(map(content, first.content)), 200, headers, first.content_type)
        if request.method == "HEAD":
            return StreamingResponse((), 200, headers, several)
        flow = multipart_related.flow(chain([first], self.parts), boundary, content)
        return StreamingResponse(flow, 200, headers, several)
