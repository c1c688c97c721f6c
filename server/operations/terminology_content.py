"""The terminology operations' common part: what a call is about, what is at hand, errors of the tree.

https://hl7.org/fhir/R4/terminology-service.html
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from server.errors import BadRequest, NotFound, TooLarge, Unprocessable
from server.operations.definition import Call
from server.repository import Repository, Resource, Transaction
from server.search.at_hand import AtHand
from terminology.code_system import CodeSystem, MemoryCodeSystem
from terminology.concept_map import Elements
from terminology.errors import TerminologyError, TooManyCodes, UnknownContent
from terminology.supplement import Supplemented
from terminology.value_set import Definition


@dataclass(frozen=True, kw_only=True, slots=True)
class Coded:
    """One code that a call asks about."""

    code: str
    system: str = ""
    version: str = ""
    display: str = ""


class Held:
    """Terminology within one transaction and one call; ``terminology.value_set.Content``."""

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction
        self._systems: dict[tuple[str, str], CodeSystem | None] = {}

    @cached_property
    def at_hand(self) -> AtHand:
        """What is stored, loaded and bundled."""
        return self.transaction.terminology

    def code_system(self, url: str, version: str = "") -> CodeSystem | None:
        """A code system by its canonical, with its supplements."""
        key = (url, version)
        if key not in self._systems:
            found = self.at_hand.code_system(url, version)
            self._systems[key] = None if found is None else self.at_hand.supplemented(found)
        return self._systems[key]

    def supplements(self, url: str, version: str) -> Iterator[str]:
        """The canonicals of what was added to a code system."""
        found = self.code_system(url, version)
        for one in found.supplements if isinstance(found, Supplemented) else ():
            yield f"{one.header.url}|{one.header.version}" if one.header.version else one.header.url

    def value_set(self, url: str, version: str = "") -> Definition | None:
        """A value set by its canonical."""
        return self.at_hand.value_set(url, version)

    def resource(self, kind: str, url: str, version: str = "") -> Resource | None:
        """A stored resource of any type by its canonical, the newest version of several, to be changed at will."""
        return deepcopy(self.at_hand.resource(kind, url, version))

    def named_system(self, call: Call, url: str, version: str) -> CodeSystem:
        """The code system that a call is about: of the instance, sent along, or by its canonical."""
        if call.id:
            return self._of_instance(call)
        if (sent := call.one("codeSystem")) is not None:
            return MemoryCodeSystem.of_resource(sent)
        url, _, edition = url.partition("|")
        if not url:
            raise BadRequest("Say which CodeSystem is meant: url or system.", expression="url")
        found = self.code_system(url, version or edition)
        if found is None:
            raise NotFound(f"There is no code system {url[:200]} here{_of(version or edition)}.", expression="url")
        return found

    def _of_instance(self, call: Call) -> CodeSystem:
        resource = self.transaction.read(call.resource_type, call.id)
        found = self.code_system(str(resource.get("url", "")), str(resource.get("version", "")))
        return found if found is not None and resource.get("url") else MemoryCodeSystem.of_resource(resource)

    def named_set(self, call: Call) -> Definition:
        """The value set that a call is about: of the instance, sent along, or by its canonical."""
        if call.id:
            found = self.at_hand.by_id("ValueSet", call.id, Definition)
            return found or Definition(self.transaction.read("ValueSet", call.id))
        if (sent := call.one("valueSet")) is not None:
            return Definition(sent)
        canonical, _, edition = str(call.one("url", "")).partition("|")
        if not canonical:
            raise BadRequest("Say which ValueSet is meant: url or valueSet.", expression="url")
        version = str(call.one("valueSetVersion", "")) or edition
        definition = self.value_set(canonical, version)
        if definition is None:
            raise NotFound(f"There is no ValueSet {canonical[:200]} here{_of(version)}.", expression="url")
        return definition

    def named_map(self, call: Call) -> Elements:
        """The concept map that a call is about: of the instance, sent along, or by its canonical."""
        if call.id:
            found = self.at_hand.by_id("ConceptMap", call.id, Elements)
            return found or Elements(self.transaction.read("ConceptMap", call.id))
        if (sent := call.one("conceptMap")) is not None:
            return Elements(sent)
        canonical, _, edition = str(call.one("url", "")).partition("|")
        version = str(call.one("conceptMapVersion", "")) or edition
        maps = self.at_hand.concept_maps(canonical, version)
        if not maps:
            raise NotFound(f"There is no ConceptMap {canonical[:200]} here{_of(version)}.", expression="url")
        return maps[0]


def _of(version: str) -> str:
    return f" of version {version[:64]}" if version else ""


def answering(repository: Repository, run: Callable[[Held, Call], Resource]) -> Callable[[Call], Resource]:
    """An operation over the terminology at hand; what can't be answered becomes an error of the tree."""

    def answered(call: Call) -> Resource:
        with repository.reading(call.access) as transaction:
            try:
                return run(Held(transaction), call)
            except UnknownContent as error:
                raise NotFound(str(error)) from error
            except TooManyCodes as error:
                raise TooLarge(f"{error} Ask for a part with count and offset, or make the filter narrower.") from error
            except TerminologyError as error:
                raise Unprocessable(str(error)) from error

    return answered


def refuse(call: Call, *names: str) -> None:
    """BadRequest for parameters of the definition that are not served."""
    for name in names:
        if call.all(name):
            raise BadRequest(f"The parameter '{name}' is not served here; leave it out.", expression=name)


def coded(call: Call, system: str = "", *, suffix: str = "", version: str = "version") -> tuple[Coded, ...]:
    """What a call asks about: code and system, a Coding, or each Coding of a CodeableConcept."""
    if (code := call.one(f"code{suffix}")) is not None:
        where = str(call.one("system", "")) or system
        return (Coded(code=code, system=where, version=call.one(version, ""), display=call.one("display", "")),)
    concept = call.one("codeableConcept") or {}
    codings = [one for one in (call.one(f"coding{suffix}"), *concept.get("coding", ())) if isinstance(one, Mapping)]
    found = tuple(coded_of(one, system) for one in codings if "code" in one)
    if not found:
        raise BadRequest(f"Say which code is meant: code{suffix} or coding{suffix}.", expression=f"code{suffix}")
    return found


def coded_of(coding: Mapping[str, Any], system: str = "") -> Coded:
    """What a Coding asks about."""
    return Coded(
        code=str(coding.get("code", "")),
        system=str(coding.get("system") or system),
        version=str(coding.get("version", "")),
        display=str(coding.get("display", "")),
    )


def parameters(*named: tuple[str, str, Any]) -> Resource:
    """Parameters of (name, type, value); what has no value is left out, "part" takes a list of parameters."""
    return {"resourceType": "Parameters", "parameter": [*parts(*named)]}


def parts(*named: tuple[str, str, Any]) -> Iterator[dict[str, Any]]:
    """The same as a list."""
    for name, kind, value in named:
        if value not in (None, "", []):
            yield {"name": name, kind if kind == "part" else f"value{kind}": value}


def escaped(value: str) -> str:
    """A value as search parameters have it: https://hl7.org/fhir/R4/search.html#escaping"""
    return value.replace("\\", "\\\\").replace(",", "\\,")
