"""capabilities with mode=terminology: what is at hand to be asked. https://hl7.org/fhir/R4/terminologycapabilities.html"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from terminology.code_system import Header
from terminology.versions import order

#: https://hl7.org/fhir/R4/terminology-service.html#4.6.1
_TEXT_FILTER = "Words, in any order, that words of the code, the display or a designation begin with."


def terminology_capabilities(
    systems: Iterable[Header], *, base_url: str, version: str, date: str, parameters: Sequence[str]
) -> dict[str, Any]:
    """The TerminologyCapabilities over the code systems at hand; ``parameters`` are those that $expand takes."""
    return {
        "resourceType": "TerminologyCapabilities",
        "status": "active",
        "date": date,
        "kind": "instance",
        "software": {"name": "Hutong", "version": version},
        "implementation": {"description": "Hutong, interoperability server for imaging AI", "url": base_url},
        "codeSystem": list(_code_systems(systems)),
        "expansion": {
            "hierarchical": True,
            "paging": True,
            "incomplete": False,
            "parameter": [{"name": name} for name in parameters],
            "textFilter": _TEXT_FILTER,
        },
        # What is in a value set by its definition can be told, not only what an expansion lists.
        "codeSearch": "all",
        "validateCode": {"translations": True},
        "translation": {"needsMap": True},
        "closure": {"translation": False},
    }


def _code_systems(systems: Iterable[Header]) -> Iterator[dict[str, Any]]:
    """Each by its canonical, with its versions, the one that is meant where none is named marked."""
    known: dict[str, list[Header]] = {}
    for header in systems:
        known.setdefault(header.url, []).append(header)
    for url, headers in sorted(known.items()):
        newest = max(headers, key=lambda one: order(one.version))
        versions = [
            {
                "code": one.version,
                "isDefault": one.version == newest.version,
                "property": [str(each["code"]) for each in one.properties if "code" in each],
            }
            for one in {one.version: one for one in headers}.values()
            if one.version
        ]
        told = [{name: value for name, value in one.items() if value != []} for one in versions]
        yield {"uri": url, **({"version": told} if told else {}), "subsumption": True}
