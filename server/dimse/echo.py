"""C-ECHO, the Verification SOP class (PS3.4 annex A)."""

from collections.abc import Iterator

from server.dimse.message import C_ECHO
from server.dimse.service import Caller, Offer, Request, Response
from server.imaging.part10 import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE

VERIFICATION = "1.2.840.10008.1.1"


def echo(_caller: Caller, _request: Request) -> Iterator[Response]:
    """Says that we are here."""
    yield Response(status=0x0000)


OFFER = Offer(
    abstract_syntaxes=(VERIFICATION,),
    commands=(C_ECHO,),
    serve=echo,
    transfer_syntaxes=(IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG),
    name="echo",
)
