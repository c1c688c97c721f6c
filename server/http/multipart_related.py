"""multipart/related answers (RFC 2387), their boundary derived from their content: the same answer, the same bytes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from server.http.stored_response import Body
from server.imaging.stored import Piece


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part of the answer."""

    media_type: str
    transfer_syntax: str = ""
    #: Where the content is to be had alone (PS3.18 8.6.3, Content-Location).
    location: str = ""
    content: Sequence[Piece]

    @property
    def content_type(self) -> str:
        """The media type with its transfer syntax."""
        return f"{self.media_type}; transfer-syntax={self.transfer_syntax}" if self.transfer_syntax else self.media_type

    def head(self, boundary: str) -> str:
        """What stands before the content."""
        location = f"Content-Location: {self.location}\r\n" if self.location else ""
        return f"--{boundary}\r\nContent-Type: {self.content_type}\r\n{location}\r\n"


def body(parts: Iterable[Part], boundary: str) -> Body:
    """All parts, ready to be sent."""
    pieces: list[Piece] = []
    end = ""
    for part in parts:
        pieces.append(f"{end}{part.head(boundary)}".encode("ascii"))
        pieces += part.content
        end = "\r\n"
    pieces.append(f"{end}--{boundary}--\r\n".encode("ascii"))
    return Body(tuple(pieces))


def flow(parts: Iterable[Part], boundary: str, content: Callable[[Piece], bytes]) -> Iterator[bytes]:
    """The same while the parts are being made; ``content`` gives the bytes of a piece."""
    end = ""
    for part in parts:
        yield f"{end}{part.head(boundary)}".encode("ascii")
        yield from map(content, part.content)
        end = "\r\n"
    yield f"{end}--{boundary}--\r\n".encode("ascii")


def media_type(kind: str, boundary: str) -> str:
    """The answer's Content-Type."""
    return f'multipart/related; type="{kind}"; boundary={boundary}'
