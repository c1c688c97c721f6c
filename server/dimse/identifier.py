"""Data sets of requests read, and those of responses written in the character set that the peer asked in (PS3.4 C.4).

Text of a response that does not fit the peer's set goes out in UTF-8; text in ASCII names no set at all.
"""

from collections.abc import Iterable

from server.dimse.service import Caller, Request
from server.errors import BadRequest
from server.imaging import attributes as read
from server.imaging.charset_writer import known
from server.imaging.dataset import Attributes, DatasetReader, Limits
from server.imaging.dataset_writer import write
from server.imaging.part10 import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from server.settings import Peer

#: What identifiers and attribute lists may be encoded in.
TRANSFER_SYNTAXES = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)
_CHARACTER_SET = "00080005"
_LIMITS = Limits(depth=8, elements=100_000)


def decode(request: Request) -> Attributes:
    """The request's data set as DICOM JSON; raises BadInstance with the tag path."""
    reader = DatasetReader(request.data, _LIMITS)
    return reader.read(0, len(request.data), explicit=request.transfer_syntax != IMPLICIT_LITTLE)


def encode(request: Request, attributes: Attributes, asked: tuple[str, ...] = ()) -> bytes:
    """A response's data set in the request's transfer syntax; ``asked`` is the character set of the request's."""
    return write(attributes, explicit=request.transfer_syntax != IMPLICIT_LITTLE, character_set=asked)


class CharacterSets:
    """In which Specific Character Set each caller is answered."""

    def __init__(self, peers: Iterable[Peer] = ()) -> None:
        """Raises BadRequest for a peer whose setting names a set that nobody knows."""
        self._by_title = {peer.ae_title: peer.character_set for peer in peers if peer.ae_title and peer.character_set}
        for title, terms in self._by_title.items():
            if not known(terms):
                raise BadRequest(f"The character set of the peer {title} is none of DICOM's.", expression="peers")

    def of(self, caller: Caller, identifier: Attributes) -> tuple[str, ...]:
        """The terms that the request names, else those of the peer's setting; empty for UTF-8."""
        named = tuple(str(term or "") for term in read.values(identifier, _CHARACTER_SET))
        return named or self._by_title.get(caller.calling, ())
