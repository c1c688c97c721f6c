"""Data sets of requests read, and those of responses written in the character set that the peer asked in (PS3.4 C.4).

Text of a response that does not fit the peer's set goes out in UTF-8; text in ASCII names no set at all.
"""

from server.dimse.service import Request
from server.imaging import attributes as read
from server.imaging.dataset import Attributes, DatasetReader, Limits
from server.imaging.dataset_writer import write
from server.imaging.part10 import EXPLICIT_LITTLE, IMPLICIT_LITTLE

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


def character_set(identifier: Attributes) -> tuple[str, ...]:
    """Specific Character Set of a data set; empty for the default repertoire."""
    return tuple(str(term or "") for term in read.values(identifier, _CHARACTER_SET))
