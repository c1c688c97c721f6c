"""C-FIND of the Modality Worklist Information Model (PS3.4 annex K)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from server.dimse import identifier as wire
from server.dimse.failure import CANCELLED, failure
from server.dimse.find import C_FIND_RQ, PENDING, SUCCESS
from server.dimse.service import Caller, Offer, Request, Response
from server.errors import HutongError
from server.imaging.dataset import Attributes
from server.security.access import Access

MODEL = "1.2.840.10008.5.1.4.31"
_CHARACTER_SET = "00080005"

#: The scheduled procedure steps that match the keys, one data set each, with what the keys ask for.
Steps = Callable[[Access, Attributes], Iterator[Attributes]]


@dataclass(frozen=True, kw_only=True)
class WorklistFinding:
    """The service."""

    find: Steps
    character_sets: wire.CharacterSets = field(default_factory=wire.CharacterSets)

    def offer(self) -> Offer:
        """Its place among the services."""
        return Offer(
            abstract_syntaxes=(MODEL,),
            commands=(C_FIND_RQ,),
            serve=self.serve,
            transfer_syntaxes=wire.TRANSFER_SYNTAXES,
            name="worklist",
        )

    def serve(self, caller: Caller, request: Request) -> Iterator[Response]:
        """One pending response for each scheduled procedure step, then the end."""
        try:
            identifier = wire.decode(request)
            asked = self.character_sets.of(caller, identifier)
            keys = {tag: element for tag, element in identifier.items() if tag != _CHARACTER_SET}
            for step in self.find(caller.access, keys):
                if caller.cancelled(request.message_id):
                    yield Response(status=CANCELLED)
                    return
                yield Response(status=PENDING, dataset=wire.encode(request, step, asked))
        except HutongError as error:
            yield failure(error)
            return
        yield Response(status=SUCCESS)
