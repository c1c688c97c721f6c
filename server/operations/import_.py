"""$import of ndjson by URL: the kick-off; the work is done by ``import_job``.

Not of the standard: the parameters are those of the Bulk Data guide's import proposal, as HAPI has them.
"""

from server.errors import BadRequest
from server.fhir.definitions import Definitions
from server.operations.bulk import BulkRequests
from server.operations.definition import Call, defined
from server.operations.operation import Accepted, Operation
from server.outbound.guard import Guard
from server.outbound.http import check_url
from server.repository import Repository

TASK = "import"
FORMATS = ("application/fhir+ndjson", "application/ndjson", "ndjson")
_CANONICAL = "https://hutong.example/fhir/OperationDefinition/import"
#: Files of one request.
MOST = 1000
URL_PLACE = "input.url"


def operation(repository: Repository, requests: BulkRequests, guard: Guard) -> Operation:
    """On the system; ``guard`` says which addresses may be fetched from."""

    def accept(call: Call) -> Accepted:
        call.access.require("write")
        if call.one("inputFormat", FORMATS[0]) not in FORMATS:
            raise BadRequest(f"inputFormat is {FORMATS[0]}.", expression="inputFormat")
        inputs = [_input(repository.definitions, guard, one) for one in call.all("input")]
        if len(inputs) > MOST:
            raise BadRequest(f"At most {MOST} inputs are taken at once.", expression="input")
        return requests.accept(call, TASK, "import", {"url": f"{call.base_url}/$import", "inputs": inputs})

    return defined(repository, _CANONICAL, accept, safe=False)


def _input(definitions: Definitions, guard: Guard, given: dict[str, tuple[str, ...]]) -> list[str]:
    """Type and URL of one file, which could be fetched."""
    ((kind,), (url,)) = given["type"], given["url"]
    if not definitions.is_resource(kind):
        raise BadRequest(f"There is no resource type '{kind[:64]}' in FHIR R4.", expression="input.type")
    check_url(url, guard, URL_PLACE)
    return [kind, url]
