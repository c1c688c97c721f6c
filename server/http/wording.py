"""The results page's words: which language, and codes, names, dates and resources as a person reads them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import fhir_profiles
from terminology.codings import Coding

LANGUAGES = ("en", "zh")
#: What stands between the pieces of a phrase, and what stands there in Chinese.
_SEPARATORS = ((": ", "："), ("; ", "；"), (", ", "，"))
#: A size or a range of sizes within a phrase.
_SIZE = re.compile(r"((?:[<>]=? ?)?\d[\d.]*(?: to <? ?\d[\d.]*)? mm3?(?: \([^)]*\))?)")
_TEXTS: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("words.json").read_text(encoding="utf-8"))
_OBSERVATION_VALUES = ("valueString", "valueInteger", "valueBoolean", "valueDateTime")


def language(asked: str | None, kept: str | None, accept: str) -> str:
    """What was asked for, else what was kept, else the best of Accept-Language (RFC 9110 12.5.4), else English."""
    for wish in (asked, kept, *_by_weight(accept)):
        primary = (wish or "").partition("-")[0].lower()
        if primary in LANGUAGES:
            return primary
    return "en"


def _by_weight(accept: str) -> list[str]:
    weighed = []
    for part in accept.split(","):
        tag, _, parameters = part.strip().partition(";")
        try:
            weight = float(parameters.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if weight > 0:
            weighed.append((-weight, tag.strip()))
    return [tag for _, tag in sorted(weighed, key=lambda pair: pair[0])]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """One line about a resource."""

    label: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """Everything that the templates say, in one language."""

    language: str

    def word(self, key: str, **values: object) -> str:
        """A word or sentence of the page."""
        return _TEXTS[self.language][key].format(**values)

    def state(self, status: str) -> str:
        """A FHIR TaskStatus for people; one that is not known here stands as it is."""
        return _TEXTS[self.language].get(f"state_{status}", status)

    def report_status(self, status: str) -> str:
        """A FHIR DiagnosticReportStatus for people; one that is not known here stands as it is."""
        return _TEXTS[self.language].get(f"report_{status}", status)

    def kind(self, resource_type: str) -> str:
        """What a resource is to a person; a type that has no word here stands as it is."""
        return _TEXTS[self.language].get(f"kind_{resource_type}", resource_type)

    def code(self, coding: Coding) -> str:
        """A code's meaning; in Chinese where the page has a word for it."""
        if self.language == "zh":
            return _TEXTS["codes"].get(f"{coding.scheme}|{coding.value}", coding.meaning)
        return coding.meaning

    def phrase(self, text: str) -> str:
        """What a pathway says, by the translations in its folder: whole, else piece by piece, else as it stands."""
        known = _phrases(self.language)
        if not known or text in known:
            return known.get(text, text)
        for separator, here in _SEPARATORS:
            first, found, rest = text.partition(separator)
            if found:
                both = (self.phrase(first), self.phrase(rest))
                # What a person wrote freely, and nobody translated, keeps its own commas.
                return text if both == (first, rest) else here.join(both)
        if text[-1:] == "." and text[:-1] in known:
            return f"{known[text[:-1]]}。"
        parts = _SIZE.split(text)
        said = [part.replace(" to ", " 至 ") if n % 2 else self._words(part) for n, part in enumerate(parts)]
        return " ".join(part for part in said if part).replace(" ，", "，")

    def _words(self, text: str) -> str:
        return _phrases(self.language).get(text.strip(), text.strip())

    def unit(self, code: str) -> str:
        """A UCUM code for people, in their language where it is a word."""
        return _TEXTS[self.language].get(f"unit_{code}", unit(code))

    def count(self, number: int) -> str:
        """How many findings."""
        if number == 0:
            return self.word("count_none")
        return self.word("count_one") if number == 1 else self.word("count_many", count=number)

    def person(self, name: str) -> str:
        """A DICOM person name (PS3.5 6.2.1): the ideographic group for Chinese where there is one."""
        alphabetic, _, rest = name.partition("=")
        ideographic = rest.partition("=")[0]
        if ideographic and (self.language == "zh" or not alphabetic):
            return "".join(ideographic.split("^")[:2])
        family, *given = [part for part in alphabetic.split("^")[:3] if part] or [""]
        return ", ".join(part for part in (family, " ".join(given)) if part) or self.word("unnamed")

    def sex(self, code: str) -> str:
        """A DICOM Patient's Sex."""
        return _TEXTS[self.language].get(code, code)


@cache
def _phrases(language: str) -> Mapping[str, str]:
    """What the pathways' folders say in another language, by what it is in English."""
    found: dict[str, str] = {}
    for path in sorted(Path(fhir_profiles.__file__).parent.glob(f"*/translations/{language}.json")):
        found.update(json.loads(path.read_text(encoding="utf-8")))
    return found


def date(value: str) -> str:
    """A DICOM DA as an ISO date."""
    digits = value.replace(".", "")
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}" if len(digits) == 8 and digits.isdigit() else value


def moment(value: datetime) -> str:
    """A time in UTC, to the second."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def instant(value: str) -> str:
    """A FHIR instant or dateTime as ``moment`` has it; a day alone stands as it is."""
    return moment(datetime.fromisoformat(value)) if "T" in value else value


def number(value: float, unit: str) -> str:
    """A measurement: mm to a tenth, mm3 whole, anything else with at most four digits."""
    if unit == "mm":
        return f"{value:.1f}"
    return f"{value:.0f}" if unit == "mm3" else f"{value:.4g}"


def unit(code: str) -> str:
    """A UCUM code for people."""
    return {"mm3": "mm³", "mm2": "mm²", "cm3": "cm³", "1": ""}.get(code, code)


def concept(value: Mapping[str, Any]) -> str:
    """A CodeableConcept's text, else its first display, else its first code."""
    codings = value.get("coding", [{}])
    first = codings[0] if codings else {}
    return str(value.get("text") or first.get("display") or first.get("code") or "")


def facts(resource: Mapping[str, Any], words: Wording) -> Iterator[Fact]:
    """What an Observation, CarePlan, ServiceRequest or the like says of itself, line by line."""
    for label, text in _facts(resource, words):
        yield Fact(label=label, text=words.phrase(text).replace("mm3", "mm³"))


def _facts(resource: Mapping[str, Any], words: Wording) -> Iterator[tuple[str, str]]:
    if resource["resourceType"] == "Observation":
        for part in (resource, *resource.get("component", [])):
            yield words.phrase(concept(part.get("code", {}))), _value(part)
    else:
        title = resource.get("title") or concept(resource.get("code", {})) or resource.get("description", "")
        yield words.kind(resource["resourceType"]), str(title)
        if resource.get("title") and resource.get("description"):
            yield "", str(resource["description"])
    for when in (_when(resource), *(_when(activity.get("detail", {})) for activity in resource.get("activity", []))):
        if when:
            yield words.word("due"), when
    for activity in resource.get("activity", []):
        detail = activity.get("detail", {})
        if text := detail.get("description") or concept(detail.get("code", {})):
            yield "", str(text)
    yield from (("", str(note["text"])) for note in resource.get("note", []) if note.get("text"))


def _value(element: Mapping[str, Any]) -> str:
    if "valueCodeableConcept" in element:
        return concept(element["valueCodeableConcept"])
    if "valueQuantity" in element:
        quantity = element["valueQuantity"]
        return f"{quantity.get('value', '')} {quantity.get('unit') or quantity.get('code', '')}".strip()
    return next((str(element[name]) for name in _OBSERVATION_VALUES if name in element), "")


def _day_of(when: str) -> str:
    """A FHIR dateTime to the day: nobody is due at a minute. What is no dateTime stands as it is."""
    return when[:10] if when[10:11] == "T" else when


def _when(element: Mapping[str, Any]) -> str:
    for name in ("occurrenceDateTime", "scheduledString"):
        if name in element:
            return _day_of(str(element[name]))
    for name in ("occurrencePeriod", "scheduledPeriod"):
        if name in element:
            return " – ".join(_day_of(str(element[name][end])) for end in ("start", "end") if end in element[name])
    return ""
