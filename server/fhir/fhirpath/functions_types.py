"""type(): reflection (https://hl7.org/fhirpath/N1/#reflection)."""

from typing import Final

from server.fhir.fhirpath.function import Function, eager
from server.fhir.fhirpath.node import Collection, Item, Node
from server.fhir.fhirpath.type_specifiers import system_type


def _type_info(item: Item) -> Node:
    if type(item) is Node:
        return Node({"namespace": "FHIR", "name": item.type}, "", "")
    return Node({"namespace": "System", "name": system_type(item)}, "", "")


def _type(focus: Collection) -> Collection:
    return [_type_info(item) for item in focus]


TYPES: Final[dict[str, Function]] = {"type": eager(_type)}
