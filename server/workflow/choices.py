"""What may be chosen when a person goes over a finding: the pathways' Questionnaires, whose answers are coded values.

https://hl7.org/fhir/R4/questionnaire.html: an item's code is the concept, its answer options the values.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from terminology.codings import Coding, from_fhir


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One thing that a person may state."""

    concept: Coding
    #: The values to choose from; empty for a number.
    options: tuple[Coding, ...]


@lru_cache(maxsize=1)
def load() -> tuple[Choice, ...]:
    """Every choice of every Questionnaire that the package carries, each concept once."""
    found: dict[Coding, Choice] = {}
    for choice in _choices():
        known = found.get(choice.concept)
        options = dict.fromkeys([*(known.options if known else ()), *choice.options])
        found[choice.concept] = Choice(concept=choice.concept, options=tuple(options))
    return tuple(found.values())


def _choices() -> Iterator[Choice]:
    folders = [item for item in resources.files("fhir_profiles").iterdir() if item.is_dir()]
    for folder in sorted(folders, key=lambda item: item.name):
        for file in sorted(folder.iterdir(), key=lambda item: item.name):
            if file.name.startswith("Questionnaire-"):
                questionnaire = json.loads(file.read_text(encoding="utf-8"))
                for item in questionnaire["item"]:
                    options = (option["valueCoding"] for option in item.get("answerOption", ()))
                    yield Choice(
                        concept=from_fhir(item["code"][0]), options=tuple(from_fhir(option) for option in options)
                    )
