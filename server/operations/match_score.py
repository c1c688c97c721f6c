"""How alike two Patients are: evidence of each field, weighed and added (Fellegi and Sunter), and the grade of it.

A weight is the binary logarithm of how much likelier the finding is of one person than of two. The score is the
probability that they are one, if one in 2^13 of those looked at were. https://hl7.org/fhir/R4/patient-operation-match.html
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from server.operations.match_name import names_alike
from server.search.text import fold

Patient = Mapping[str, Any]
#: (field, finding) -> weight. What one of the two does not say has none.
WEIGHTS: Mapping[tuple[str, str], float] = {
    ("identifier", "same"): 24.0,
    ("identifier", "other"): -3.0,
    ("name", "same"): 9.0,
    ("name", "near"): 5.0,
    ("name", "given"): 2.0,
    ("name", "family"): -5.0,
    ("name", "other"): -6.0,
    ("birthDate", "same"): 9.0,
    ("birthDate", "near"): 3.0,
    ("birthDate", "other"): -7.0,
    ("gender", "same"): 1.0,
    ("gender", "other"): -4.0,
    ("multipleBirth", "other"): -8.0,
    ("telecom", "same"): 6.0,
    ("telecom", "other"): -0.5,
    ("address", "same"): 4.0,
    ("address", "part"): 1.5,
    ("address", "other"): -0.5,
}
PRIOR = -13.0
#: Scores from which on a match is certain (if a rule says so too), probable, possible.
CERTAIN, PROBABLE, POSSIBLE = 0.99, 0.9, 0.15
#: Digits of a telephone number that are compared, from its end.
_DIGITS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Likeness:
    """What comparing two Patients came to."""

    #: Probability that they are one.
    score: float
    #: certain, probable, possible or certainly-not.
    grade: str
    #: Field -> finding.
    evidence: Mapping[str, str]


def likeness(one: Patient, other: Patient) -> Likeness:
    """Compares two Patients by what both of them say."""
    evidence = dict(_evidence(one, other))
    weight = PRIOR + sum(WEIGHTS.get(finding, 0.0) for finding in evidence.items())
    score = 1 / (1 + 2.0 ** -max(-60.0, min(60.0, weight)))
    return Likeness(score=score, grade=_grade(score, evidence), evidence=evidence)


def _grade(score: float, evidence: Mapping[str, str]) -> str:
    """Certain is who shares an identifier, or name, birth date and contact or address, and contradicts in nothing."""
    contradicted = sum(evidence.get(name) == "other" for name in ("name", "birthDate", "gender", "multipleBirth"))
    known = evidence.get("name") == evidence.get("birthDate") == "same"
    reached = "same" in (evidence.get("telecom"), evidence.get("address"))
    if score >= CERTAIN and not contradicted and (evidence.get("identifier") == "same" or (known and reached)):
        return "certain"
    if score >= PROBABLE and contradicted < 2:
        return "probable"
    return "possible" if score >= POSSIBLE else "certainly-not"


def _evidence(one: Patient, other: Patient) -> Iterator[tuple[str, str]]:
    """Field -> finding, of the fields that both have."""
    found = {
        "identifier": _identifiers(one, other),
        "name": names_alike(_listed(one, "name"), _listed(other, "name")),
        "birthDate": _dates(str(one.get("birthDate", "")), str(other.get("birthDate", ""))),
        "gender": _genders(one, other),
        "multipleBirth": _births(one, other),
        "telecom": _either(_reached(one), _reached(other)),
        "address": _addresses(_listed(one, "address"), _listed(other, "address")),
    }
    yield from ((name, finding) for name, finding in found.items() if finding)


def _listed(patient: Patient, name: str) -> list[dict[str, Any]]:
    return [one for one in patient.get(name) or [] if isinstance(one, dict)]


def _identifiers(one: Patient, other: Patient) -> str:
    """Same for one value of one system; other where they have a system in common and no value."""
    first, second = ({(i.get("system", ""), i["value"]) for i in _listed(p, "identifier") if "value" in i}
                     for p in (one, other))  # fmt: skip
    if {pair for pair in first & second if pair[0]}:
        return "same"
    return "other" if {system for system, _ in first if system} & {system for system, _ in second} else ""


def _dates(one: str, other: str) -> str:
    """Near: the one less precise, day and month exchanged, or one character mistaken."""
    if not one or not other:
        return ""
    if one == other:
        return "same"
    if len(one) != len(other):
        return "near" if one.startswith(other) or other.startswith(one) else "other"
    swapped = "-".join([other[:4], other[8:], other[5:7]]) if len(other) == 10 else ""
    mistaken = sum(a != b for a, b in zip(one, other, strict=True))
    return "near" if one == swapped or mistaken == 1 else "other"


def _genders(one: Patient, other: Patient) -> str:
    known = {one.get("gender"), other.get("gender")} - {"unknown", "other", None}
    if not known or not (one.get("gender") and other.get("gender")):
        return ""
    return "same" if one["gender"] == other["gender"] else "other" if len(known) == 2 else ""


def _births(one: Patient, other: Patient) -> str:
    """Other for two of one birth who are not the same of them."""
    numbers = {patient.get("multipleBirthInteger") for patient in (one, other)}
    return "other" if None not in numbers and len(numbers) == 2 else ""


def _reached(patient: Patient) -> set[str]:
    """Telephone numbers by their last digits, addresses of mail folded."""
    found = set()
    for contact in _listed(patient, "telecom"):
        value = str(contact.get("value", ""))
        digits = "".join(character for character in value if character.isdigit())
        found.add(fold(value) if contact.get("system") == "email" or "@" in value else digits[-_DIGITS:])
    return {one for one in found if len(one) > 4}


def _either(one: set[str], other: set[str]) -> str:
    return "" if not one or not other else "same" if one & other else "other"


def _addresses(one: Iterable[dict[str, Any]], other: Iterable[dict[str, Any]]) -> str:
    """Same: city or postal code, and a line or the whole text; part: city or postal code alone."""
    pairs = [_address(a, b) for a in one for b in other]
    return next((finding for finding in ("same", "part", "other") if finding in pairs), "")


def _address(one: dict[str, Any], other: dict[str, Any]) -> str:
    lines = [{_plain(line) for line in (*(a.get("line") or ()), a.get("text", ""))} - {""} for a in (one, other)]
    places = [{_plain(a.get(name, "")) for name in ("city", "postalCode")} - {""} for a in (one, other)]
    if lines[0] & lines[1] and (places[0] & places[1] or not (places[0] and places[1])):
        return "same"
    if places[0] & places[1]:
        return "part"
    return "other" if (lines[0] and lines[1]) or (places[0] and places[1]) else ""


def _plain(text: Any) -> str:
    return "".join(character for character in fold(str(text or "")) if character.isalnum())
