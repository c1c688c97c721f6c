"""Code systems and value sets that come along: those of the standard, as facts, and those of the house.

Of the standard's there are codes, displays and hierarchy, without definitions; codes of systems that others own are
there as far as its value sets list them. https://hl7.org/fhir/R4/terminologies.html
"""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

from server.fhir.definitions import EDITIONS, Definitions
from terminology.code_system import CodeSystem, Header, MemoryCodeSystem, header_of
from terminology.concept import Concept
from terminology.value_set import Definition
from terminology.versions import fits


def code_system(definitions: Definitions, url: str, version: str = "") -> CodeSystem | None:
    """A code system by its canonical; of another version than the bundled one there is none."""
    found = _system(definitions, url)
    return found if found is not None and fits(found.header.version, version) else None


@lru_cache(maxsize=4)
def headers(definitions: Definitions) -> tuple[Header, ...]:
    """What is said of each code system as a whole, without its concepts."""
    rows = {url: {**row, "url": url} for url, row in _table(definitions, "code_system").items()}
    listed = {url: Header(url=url, content="fragment") for url in _required(definitions)}
    whole = {url: header_of(row) for url, row in (rows | dict(_of_the_house())).items()}
    return tuple((listed | whole).values())


@lru_cache(maxsize=4096)
def value_set(definitions: Definitions, url: str, version: str = "") -> Definition | None:
    """A value set of the standard."""
    row = _table(definitions, "value_set_compose").get(url)
    if row is not None and fits(str(row.get("version", "")), version):
        return Definition({"resourceType": "ValueSet", "url": url, **row})
    listed = None if version else definitions.codes(url)
    if listed is None:
        return None
    include = [
        {"system": system, "concept": [{"code": code} for code in sorted(codes)]} for system, codes in listed.items()
    ]
    return Definition({"resourceType": "ValueSet", "url": url, "status": "active", "compose": {"include": include}})


def with_value_set(definitions: Definitions, url: str) -> Header | None:
    """The code system that says of a value set that it has all its codes."""
    system = _all_codes(definitions).get(url)
    found = _system(definitions, system) if system else None
    return found.header if found else None


class BundledContent:
    """What comes along, where no transaction is at hand: ``terminology.value_set.Content``."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions

    def code_system(self, url: str, version: str = "") -> CodeSystem | None:
        """A code system by its canonical."""
        return code_system(self._definitions, url, version)

    def value_set(self, url: str, version: str = "") -> Definition | None:
        """A value set by its canonical."""
        return value_set(self._definitions, url, version)

    def by_id(self, _kind: str, _id: str, _make: Callable[[dict[str, Any]], Definition]) -> Definition | None:
        """None: nothing of it is a stored resource."""
        return None


@lru_cache(maxsize=2048)
def _system(definitions: Definitions, url: str) -> CodeSystem | None:
    own = _of_the_house().get(url)
    if own is None and (row := _table(definitions, "code_system").get(url)) is not None:
        own = {"url": url, **row}
    if own is not None:
        return MemoryCodeSystem.of_resource(own)
    codes = _required(definitions).get(url)
    if codes is None:
        return None
    return MemoryCodeSystem(Header(url=url, content="fragment"), (Concept(code=code) for code in codes))


@lru_cache(maxsize=4)
def _required(definitions: Definitions) -> dict[str, list[str]]:
    """The codes of the value sets that the standard binds to with strength required, by their system."""
    codes: dict[str, set[str]] = {}
    for listed in definitions.tables["value_set"].values():
        for system, own in listed.items():
            codes.setdefault(system, set()).update(own)
    return {system: sorted(own) for system, own in codes.items()}


@lru_cache(maxsize=4)
def _all_codes(definitions: Definitions) -> dict[str, str]:
    """Value set -> the code system all of whose codes it has."""
    rows = [*_table(definitions, "code_system").items(), *_of_the_house().items()]
    return {str(row["valueSet"]): url for url, row in rows if "valueSet" in row}


@lru_cache(maxsize=8)
def _table(definitions: Definitions, name: str) -> Mapping[str, Mapping[str, Any]]:
    edition = next(name for name, version in EDITIONS.items() if version == definitions.version)
    packed = resources.files("fhir_profiles") / "base" / edition / f"{name}_table.json.gz"
    found: Mapping[str, Mapping[str, Any]] = json.loads(gzip.decompress(packed.read_bytes()))
    return found


@lru_cache(maxsize=1)
def _of_the_house() -> Mapping[str, Mapping[str, Any]]:
    return {str(one["url"]): one for one in _code_systems()}


def _code_systems() -> Iterator[dict[str, Any]]:
    for folder in resources.files("fhir_profiles").iterdir():
        for file in folder.iterdir() if folder.is_dir() else ():
            if file.name.startswith("CodeSystem-"):
                yield json.loads(file.read_text(encoding="utf-8"))
