"""Composition/$document: https://hl7.org/fhir/R4/composition-operation-document.html"""

from typing import Any

from server.errors import BadRequest, Unprocessable
from server.fhir import instants, json_format
from server.fhir.references import references
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.repository import Repository, Transaction

_CANONICAL = "http://hl7.org/fhir/OperationDefinition/Composition-document"


def operation(repository: Repository) -> Operation:
    """The operation; it stores the document when it is asked to."""

    def document(call: Call) -> dict[str, Any]:
        if call.one("graph") is not None:
            raise BadRequest("Documents by a GraphDefinition are not made here: leave graph out.", expression="graph")
        if not call.one("persist", default=False):
            with repository.reading(call.access) as transaction:
                return _document(transaction, call)
        with repository.transaction(call.access) as transaction:
            return transaction.create(_document(transaction, call)).resource

    return defined(repository, _CANONICAL, document)


def _document(transaction: Transaction, call: Call) -> dict[str, Any]:
    """The Composition, then everything that it refers to directly."""
    given = call.id or str(call.one("id", "")).removeprefix(f"{call.base_url}/").rpartition("/")[2]
    if not given:
        raise BadRequest("Say of which Composition: id.", expression="id")
    composition = transaction.read(call.resource_type, given)
    local = (text.removeprefix(f"{call.base_url}/") for text in references(transaction.definitions, composition))
    steps = dict.fromkeys(tuple(text.split("/")[:2]) for text in local if "/" in text)
    pairs = [(kind, id) for kind, id in steps if transaction.definitions.is_resource(kind)]
    found = {(one.type, one.id): json_format.parse(one.body) for one in transaction.read_many(pairs)}
    missing = [f"{kind}/{id}" for kind, id in pairs if (kind, id) not in found]
    if missing:
        raise Unprocessable(f"The document can't be made: it refers to {missing[0]}, which is not here.")
    moment = instants.text(transaction.moment)
    resources = [composition, *(found[pair] for pair in pairs)]
    return {
        "resourceType": "Bundle",
        "id": instants.new_id(),
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{instants.new_id()}"},
        "type": "document",
        "timestamp": moment,
        "entry": [
            {"fullUrl": f"{call.base_url}/{one['resourceType']}/{one['id']}", "resource": one} for one in resources
        ],
    }
