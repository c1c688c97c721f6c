"""The terminology at hand: what is stored here, then the bundled code lists of the standard and of the house.

https://hl7.org/fhir/R4/terminology-service.html
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from server.errors import BadRequest, NotFound, TooLarge, Unprocessable
from server.fhir import json_format
from server.fhir.definitions import Definitions
from server.operations.definition import Call
from server.repository import Repository, Resource, Transaction
from terminology.code_system import CodeSystem, Concept
from terminology.errors import TerminologyError, TooManyCodes, UnknownContent


@dataclass(frozen=True, kw_only=True, slots=True)
class Coded:
    """One code that a call asks about."""

    code: str
    system: str = ""
    version: str = ""
    display: str = ""


class Held:
    """Terminology within one transaction; ``terminology.value_set.Content``."""

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction
        self._definitions = transaction.definitions
        self._found: dict[tuple[str, str, str], Resource | None] = {}
        self._systems: dict[tuple[str, str], CodeSystem | None] = {}

    def code_system(self, url: str, version: str = "") -> CodeSystem | None:
        """A code system by its canonical; the one changed last where no version is named."""
        key = (url, version)
        if key not in self._systems:
            resource = self.resource("CodeSystem", url, version)
            bundled = None if version else _bundled_systems(self._definitions).get(url)
            self._systems[key] = bundled if resource is None else _code_system(json_format.write(resource))
        return self._systems[key]

    def value_set(self, url: str, version: str = "") -> Resource | None:
        """A value set by its canonical."""
        found = self.resource("ValueSet", url, version)
        listed = self._definitions.codes(url) if found is None and not version else None
        if listed is None:
            return found
        include = [
            {"system": system, "concept": [{"code": code} for code in sorted(codes)]}
            for system, codes in listed.items()
        ]
        return {"resourceType": "ValueSet", "url": url, "status": "active", "compose": {"include": include}}

    def resource(self, kind: str, url: str, version: str = "") -> Resource | None:
        """A stored resource by its canonical, the one changed last of several."""
        key = (kind, url, version)
        if key not in self._found:
            asked = [("url", escaped(url)), *([("version", escaped(version))] if version else [])]
            query = [*asked, ("_sort", "-_lastUpdated"), ("_count", "1")]
            matches = self.transaction.search(kind, query).matches if url else ()
            self._found[key] = json_format.parse(matches[0].body) if matches else None
        return self._found[key]

    def named(self, call: Call, *, given: str, url: str = "url", version: str = "") -> Resource:
        """The resource that a call is about: of the instance, sent along as ``given``, or by its canonical."""
        if call.id:
            return self.transaction.read(call.resource_type, call.id)
        if (sent := call.one(given)) is not None:
            found: Resource = sent
            return found
        canonical, _, edition = str(call.one(url, "")).partition("|")
        if not canonical:
            raise BadRequest(f"Say which {call.resource_type} is meant: {url} or {given}.", expression=url)
        edition = edition or str(call.one(version, "") if version else "")
        by_url = self.value_set if call.resource_type == "ValueSet" else self._stored(call.resource_type)
        resource = by_url(canonical, edition)
        if resource is None:
            raise NotFound(f"There is no {call.resource_type} {canonical[:200]} here.")
        return resource

    def _stored(self, kind: str) -> Callable[[str, str], Resource | None]:
        return lambda url, version: self.resource(kind, url, version)


def answering(repository: Repository, run: Callable[[Held, Call], Resource]) -> Callable[[Call], Resource]:
    """An operation over the terminology at hand; what can't be answered becomes an error of the tree."""

    def answered(call: Call) -> Resource:
        with repository.reading(call.access) as transaction:
            try:
                return run(Held(transaction), call)
            except UnknownContent as error:
                raise NotFound(str(error)) from error
            except TooManyCodes as error:
                raise TooLarge(f"{error} Make the filter narrower.") from error
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
    found = tuple(_coded(one, system) for one in codings if "code" in one)
    if not found:
        raise BadRequest(f"Say which code is meant: code{suffix} or coding{suffix}.", expression=f"code{suffix}")
    return found


def _coded(coding: Mapping[str, Any], system: str) -> Coded:
    return Coded(
        code=str(coding["code"]),
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


@lru_cache(maxsize=64)
def _code_system(body: bytes) -> CodeSystem:
    return CodeSystem.of_resource(json_format.parse(body))


@lru_cache(maxsize=4)
def _bundled_systems(definitions: Definitions) -> dict[str, CodeSystem]:
    """The systems behind the standard's required bindings, codes without words, and those of the house."""
    codes: dict[str, dict[str, None]] = {}
    for listed in definitions.tables["value_set"].values():
        for system, own in listed.items():
            codes.setdefault(system, {}).update(dict.fromkeys(own))
    found = {url: CodeSystem(url, (Concept(code=code) for code in sorted(own))) for url, own in codes.items()}
    for folder in resources.files("fhir_profiles").iterdir():
        for file in folder.iterdir() if folder.is_dir() else ():
            if file.name.startswith("CodeSystem-"):
                own_system = CodeSystem.of_resource(json.loads(file.read_text(encoding="utf-8")))
                found[own_system.url] = own_system
    return found
