"""A second, small reading of what a search means: brute force over JSON, by none of the server's code.

Where the values of a search parameter stand is written down by hand below; each parameter type is a function.
"""

import calendar
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

Json = dict[str, Any]
Key = tuple[str, str]
STATUS = "http://hl7.org/fhir/"
#: Type -> code -> (type of parameter, paths, system that the codes are bound to).
PLACES: dict[str, dict[str, tuple[str, ...]]] = {
    "": {
        "_id": ("token", "id"),
        "_lastUpdated": ("date", "meta.lastUpdated"),
        "_tag": ("token", "meta.tag"),
        "_security": ("token", "meta.security"),
        "_profile": ("uri", "meta.profile"),
        "_source": ("uri", "meta.source"),
    },
    "Patient": {
        "gender": ("token", "gender", STATUS + "administrative-gender"),
        "birthdate": ("date", "birthDate"),
        "name": ("string", "name.family|name.given|name.prefix|name.suffix|name.text"),
        "family": ("string", "name.family"),
        "given": ("string", "name.given"),
        "phonetic": ("string", "name.family|name.given|name.prefix|name.suffix|name.text"),
        "address": (
            "string",
            "address.line|address.city|address.district|address.state|address.postalCode|address.country|address.text",
        ),
        "address-city": ("string", "address.city"),
        "address-state": ("string", "address.state"),
        "address-postalcode": ("string", "address.postalCode"),
        "address-country": ("string", "address.country"),
        "identifier": ("token", "identifier"),
        "telecom": ("token", "telecom"),
        "active": ("token", "active"),
        "language": ("token", "communication.language"),
        "organization": ("reference", "managingOrganization"),
        "general-practitioner": ("reference", "generalPractitioner"),
        "death-date": ("date", "deceasedDateTime"),
        "link": ("reference", "link.other"),
        "address-use": ("token", "address.use", STATUS + "address-use"),
    },
    "Observation": {
        "code": ("token", "code"),
        "status": ("token", "status", STATUS + "observation-status"),
        "category": ("token", "category"),
        "subject": ("reference", "subject"),
        "patient": ("reference", "subject"),
        "encounter": ("reference", "encounter"),
        "date": ("date", "effectiveDateTime|effectivePeriod"),
        "value-quantity": ("quantity", "valueQuantity"),
        "value-concept": ("token", "valueCodeableConcept"),
        "value-string": ("string", "valueString|valueCodeableConcept.text"),
        "component-code": ("token", "component.code"),
        "component-value-quantity": ("quantity", "component.valueQuantity"),
        "combo-code": ("token", "code|component.code"),
        "combo-value-quantity": ("quantity", "valueQuantity|component.valueQuantity"),
        "performer": ("reference", "performer"),
        "data-absent-reason": ("token", "dataAbsentReason"),
        "identifier": ("token", "identifier"),
        "has-member": ("reference", "hasMember"),
    },
    "Encounter": {
        "class": ("token", "class"),
        "type": ("token", "type"),
        "date": ("date", "period"),
        "subject": ("reference", "subject"),
        "patient": ("reference", "subject"),
        "status": ("token", "status", STATUS + "encounter-status"),
        "service-provider": ("reference", "serviceProvider"),
        "participant": ("reference", "participant.individual"),
        "practitioner": ("reference", "participant.individual"),
        "reason-code": ("token", "reasonCode"),
        "location": ("reference", "location.location"),
        "identifier": ("token", "identifier"),
    },
    "Condition": {
        "code": ("token", "code"),
        "clinical-status": ("token", "clinicalStatus"),
        "subject": ("reference", "subject"),
        "verification-status": ("token", "verificationStatus"),
        "onset-date": ("date", "onsetDateTime|onsetPeriod"),
        "abatement-date": ("date", "abatementDateTime|abatementPeriod"),
        "recorded-date": ("date", "recordedDate"),
        "patient": ("reference", "subject"),
        "encounter": ("reference", "encounter"),
        "category": ("token", "category"),
    },
    "Claim": {
        "created": ("date", "created"),
        "patient": ("reference", "patient"),
        "provider": ("reference", "provider"),
        "use": ("token", "use", STATUS + "claim-use"),
        "status": ("token", "status", STATUS + "fm-status"),
        "encounter": ("reference", "item.encounter"),
        "priority": ("token", "priority"),
    },
    "ExplanationOfBenefit": {
        "created": ("date", "created"),
        "patient": ("reference", "patient"),
        "claim": ("reference", "claim"),
        "provider": ("reference", "provider"),
        "identifier": ("token", "identifier"),
        "care-team": ("reference", "careTeam.provider"),
        "coverage": ("reference", "insurance.coverage"),
    },
    "Immunization": {
        "vaccine-code": ("token", "vaccineCode"),
        "date": ("date", "occurrenceDateTime"),
        "patient": ("reference", "patient"),
        "status": ("token", "status"),
        "performer": ("reference", "performer.actor"),
    },
    "DiagnosticReport": {
        "code": ("token", "code"),
        "result": ("reference", "result"),
        "status": ("token", "status"),
        "date": ("date", "effectiveDateTime|effectivePeriod"),
        "issued": ("date", "issued"),
        "subject": ("reference", "subject"),
        "category": ("token", "category"),
        "encounter": ("reference", "encounter"),
    },
    "Procedure": {
        "code": ("token", "code"),
        "date": ("date", "performedDateTime|performedPeriod"),
        "status": ("token", "status"),
        "subject": ("reference", "subject"),
        "encounter": ("reference", "encounter"),
        "reason-reference": ("reference", "reasonReference"),
        "patient": ("reference", "subject"),
    },
    "MedicationRequest": {
        "code": ("token", "medicationCodeableConcept"),
        "status": ("token", "status"),
        "authoredon": ("date", "authoredOn"),
        "subject": ("reference", "subject"),
        "requester": ("reference", "requester"),
        "intent": ("token", "intent"),
        "encounter": ("reference", "encounter"),
    },
    "CarePlan": {
        "category": ("token", "category"),
        "activity-code": ("token", "activity.detail.code"),
        "subject": ("reference", "subject"),
        "condition": ("reference", "addresses"),
        "date": ("date", "period"),
        "encounter": ("reference", "encounter"),
    },
    "Organization": {
        "name": ("string", "name|alias"),
        "address-city": ("string", "address.city"),
        "type": ("token", "type"),
        "identifier": ("token", "identifier"),
        "active": ("token", "active"),
        "partof": ("reference", "partOf"),
    },
    "Practitioner": {
        "identifier": ("token", "identifier"),
        "family": ("string", "name.family"),
        "active": ("token", "active"),
        "name": ("string", "name.family|name.given|name.prefix|name.suffix|name.text"),
    },
    "Location": {
        "name": ("string", "name|alias"),
        "partof": ("reference", "partOf"),
        "near": ("position", "position"),
        "status": ("token", "status"),
    },
    "RiskAssessment": {
        "probability": ("number", "prediction.probabilityDecimal|prediction.probabilityRange"),
        "subject": ("reference", "subject"),
        "status": ("token", "status"),
    },
    "Questionnaire": {"url": ("uri", "url"), "title": ("string", "title"), "version": ("token", "version")},
    "QuestionnaireResponse": {"questionnaire": ("reference", "questionnaire"), "status": ("token", "status")},
    "List": {"item": ("reference", "entry.item"), "title": ("string", "title"), "subject": ("reference", "subject")},
    "ValueSet": {
        "url": ("uri", "url"),
        "reference": ("uri", "compose.include.system"),
        "version": ("token", "version"),
    },
    "CodeSystem": {"url": ("uri", "url"), "code": ("token", "concept.code")},
}
#: Composite -> where its values stand, and the parameter type and path of each component.
COMPOSITES: dict[tuple[str, str], tuple[str, tuple[tuple[str, str], ...]]] = {
    ("Observation", "code-value-quantity"): ("", (("token", "code"), ("quantity", "valueQuantity"))),
    ("Observation", "code-value-concept"): ("", (("token", "code"), ("token", "valueCodeableConcept"))),
    ("Observation", "code-value-date"): ("", (("token", "code"), ("date", "valueDateTime|valuePeriod"))),
    ("Observation", "component-code-value-quantity"): (
        "component", (("token", "code"), ("quantity", "valueQuantity"))),
    ("Observation", "combo-code-value-quantity"): (
        "|component", (("token", "code"), ("quantity", "valueQuantity"))),
}  # fmt: skip
UCUM = "http://unitsofmeasure.org"
#: Units that the searches ask for, by what they measure and in one unit of it.
UNITS = {
    "kg": ("mass", "1000"), "g": ("mass", "1"), "mg": ("mass", "0.001"), "pg": ("mass", "0.000000000001"),
    "cm": ("length", "0.01"), "m": ("length", "1"), "mm": ("length", "0.001"),
}  # fmt: skip
EARLY, LATE = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def values(resource: Any, paths: str) -> Iterator[Any]:
    """What stands under any of several dotted paths, lists opened; an empty path is the thing itself."""
    for path in paths.split("|"):
        found = [resource]
        for step in path.split(".") if path else ():
            found = [one[step] for one in found if isinstance(one, dict) and step in one]
            found = [part for one in found for part in (one if isinstance(one, list) else [one])]
        yield from found


def folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).split())


def span(value: Any) -> tuple[datetime, datetime]:
    """First moment of a date or Period, and the first one after it."""
    if isinstance(value, dict):
        low = span(value["start"])[0] if "start" in value else EARLY
        return low, span(value["end"])[1] if "end" in value else LATE
    text = str(value)
    if len(text) == 4:
        year = int(text)
        return datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    if len(text) == 7:
        start = datetime.fromisoformat(f"{text}-01").replace(tzinfo=UTC)
        return start, start + timedelta(days=calendar.monthrange(start.year, start.month)[1])
    start = datetime.fromisoformat(text)
    start = start if start.tzinfo else start.replace(tzinfo=UTC)
    if len(text) == 10:
        return start, start + timedelta(days=1)
    if re.search(r":\d\d\.\d+", text):
        return start, start + timedelta(milliseconds=1)
    return start, start + (timedelta(seconds=1) if re.search(r"T\d\d:\d\d:\d\d", text) else timedelta(minutes=1))


def compared(prefix: str, have: tuple[Any, Any], asked: tuple[Any, Any]) -> bool:
    """The standard's table of prefixes, ends beyond the range."""
    inside = asked[0] <= have[0] and have[1] <= asked[1]
    return {
        "eq": inside, "ne": not inside, "gt": have[1] > asked[1], "lt": have[0] < asked[0],
        "ge": have[1] > asked[1] or inside, "le": have[0] < asked[0] or inside, "sa": have[0] >= asked[1],
        "eb": have[1] <= asked[0], "ap": have[0] < asked[1] and have[1] > asked[0],
    }[prefix]  # fmt: skip


def prefixed(text: str) -> tuple[str, str]:
    return (text[:2], text[2:]) if re.match("eq|ne|gt|lt|ge|le|sa|eb|ap", text) else ("eq", text)


def numbers(prefix: str, have: tuple[Decimal, Decimal], text: str, factor: Decimal = Decimal(1)) -> bool:
    asked = Decimal(text)
    half = Decimal((0, (5,), int(asked.as_tuple().exponent) - 1))
    if prefix in ("eq", "ne"):
        return ((asked - half) * factor <= have[0] and have[1] < (asked + half) * factor) == (prefix == "eq")
    margin = abs(asked) / 10 if prefix == "ap" else Decimal(0)
    low, high = (asked - margin) * factor, (asked + margin) * factor
    return {
        "gt": have[1] > high, "lt": have[0] < low, "ge": have[1] >= high, "le": have[0] <= low, "sa": have[0] > high,
        "eb": have[1] < low, "ap": have[0] <= high and have[1] >= low,
    }[prefix]  # fmt: skip


def tokens(value: Any, bound: str = "") -> Iterator[tuple[str, str, list[str]]]:
    """(system, code, words) of anything that a token is looked for in."""
    if isinstance(value, bool):
        yield "", "true" if value else "false", []
    elif isinstance(value, str):
        yield bound, value, []
    elif "coding" in value or set(value) == {"text"}:
        for coding in value.get("coding", ()):
            yield coding.get("system", ""), coding.get("code", ""), [coding.get("display", "")]
        if "text" in value:
            yield "", "", [value["text"]]
    elif "code" in value:
        yield value.get("system", ""), value["code"], [value.get("display", "")]
    elif "use" in value and value.get("system") in ("phone", "email", "fax"):
        yield "", value["value"], []
    else:
        yield value.get("system", ""), value.get("value", ""), [(value.get("type") or {}).get("text", "")]


class World:
    """Resources, and what a query finds among them."""

    def __init__(self, resources: Iterable[Json], systems: Json, value_sets: dict[str, set[Key]], base: str) -> None:
        """``systems``: system -> code -> parents; ``value_sets``: canonical -> its codes."""
        self.all = {(one["resourceType"], one["id"]): one for one in resources}
        self.systems, self.value_sets, self.base = systems, value_sets, base
        self.known: dict[Key, dict[str, list[Json]]] = {}
        self.answers: dict[tuple[str, str], set[Key]] = {}

    def find(self, kind: str, query: str) -> set[Key]:
        """What meets all parameters; those that shape the answer are passed over."""
        if (kind, query) not in self.answers:
            self.answers[kind, query] = self.answer(kind, query)
        return self.answers[kind, query]

    def answer(self, kind: str, query: str) -> set[Key]:
        """As ``find``, worked out."""
        pairs = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0].partition(":")[0] not in _SHAPING]
        types = {part for name, value in parse_qsl(query) if name == "_type" for part in value.split(",")}
        return {
            key for key, one in self.all.items()
            if (key[0] == kind or (not kind and (not types or key[0] in types)))
            and all(self.meets(one, *pair) for pair in pairs)
        }  # fmt: skip

    def meets(self, one: Json, name: str, value: str) -> bool:
        if name.startswith("_has:"):
            _, source, code, rest = name.split(":", 3)
            own = f"{one['resourceType']}/{one['id']}"
            return any(self.meets(other, rest, value) for other in self.referrers(source, code).get(own, ()))
        own_name, dot, rest = name.partition(".")
        code, _, modifier = own_name.partition(":")
        if dot:
            reached = (self.all.get(tuple(target.split("/"))) for target in self.targets(one, code))  # type: ignore[arg-type]
            return any(
                other is not None and modifier in ("", other["resourceType"]) and self.knows(other, rest)
                and self.meets(other, rest, value) for other in reached
            )  # fmt: skip
        if code in ("_text", "_content"):
            return self.words(one, code, value)
        if code == "_list":
            return any(f"{one['resourceType']}/{one['id']}" in self.targets(self.all["List", id], "item")
                       for id in value.split(","))  # fmt: skip
        if modifier == "missing":
            return (not list(self.found(one, code))) == (value == "true")
        alternatives = re.split(r"(?<!\\),", value)
        if modifier in ("not", "not-in"):
            positive = "in" if modifier == "not-in" else ""
            return not any(self.one_value(one, code, positive, part) for part in alternatives)
        return any(self.one_value(one, code, modifier, part.replace("\\,", ",")) for part in alternatives)

    def knows(self, one: Json, rest: str) -> bool:
        code = re.split("[.:]", rest)[0]
        places = PLACES.get(one["resourceType"], {})
        return code in places or code in PLACES[""] or code == "_has" or (one["resourceType"], code) in COMPOSITES

    def referrers(self, source: str, code: str) -> dict[str, list[Json]]:
        """Target -> the resources of a type that refer to it, gathered once."""
        if (source, code) not in self.known:
            found: dict[str, list[Json]] = {}
            for key, one in self.all.items():
                for target in self.targets(one, code) if key[0] == source else ():
                    found.setdefault(target, []).append(one)
            self.known[source, code] = found
        return self.known[source, code]

    def place(self, kind: str, code: str) -> tuple[str, ...]:
        return PLACES[""].get(code) or PLACES[kind][code]

    def found(self, one: Json, code: str) -> Iterator[Any]:
        if (one["resourceType"], code) in COMPOSITES:
            where, parts = COMPOSITES[one["resourceType"], code]
            yield from (item for item in values(one, where) if all(list(values(item, path)) for _, path in parts))
        else:
            yield from values(one, self.place(one["resourceType"], code)[1])

    def targets(self, one: Json, code: str) -> set[str]:
        places = PLACES.get(one["resourceType"], {})
        if places.get(code, ("",))[0] != "reference":
            return set()
        found = values(one, places[code][1])
        texts = (value if isinstance(value, str) else value.get("reference", "") for value in found)
        return {text.removeprefix(f"{self.base}/") for text in texts if text and not text.startswith("#")}

    def one_value(self, one: Json, code: str, modifier: str, text: str) -> bool:
        kind = one["resourceType"]
        if (kind, code) in COMPOSITES:
            where, parts = COMPOSITES[kind, code]
            asked = text.split("$")
            return any(
                all(any(self.is_(form, value, "", part) for value in values(item, path))
                    for (form, path), part in zip(parts, asked, strict=True))
                for item in values(one, where)
            )  # fmt: skip
        place = self.place(kind, code)
        if place[0] == "reference":
            return self.refers(one, code, modifier, text)
        if place[0] == "string":
            return any(self.string(str(value), modifier, text) for value in self.found(one, code))
        bound = place[2] if len(place) > 2 else ""
        return any(self.is_(place[0], value, modifier, text, bound) for value in self.found(one, code))

    def is_(self, form: str, value: Any, modifier: str, text: str, bound: str = "") -> bool:
        if form == "token":
            return self.token(value, modifier, text, bound)
        if form == "uri":
            if modifier == "below":
                return value == text or str(value).startswith(text.rstrip("/") + "/")
            if modifier == "above":
                return value == text or text.startswith(str(value).rstrip("/") + "/")
            return bool(value == text)
        prefix, rest = prefixed(text)
        if form == "date":
            asked = span(rest.replace(" ", "+"))
            # "About" is a tenth of the way to now: https://hl7.org/fhir/R4/search.html#prefix
            margin = abs(datetime.now(UTC) - asked[0]) / 10 if prefix == "ap" else timedelta()
            return compared(prefix, span(value), (asked[0] - margin, asked[1] + margin))
        if form == "number":
            ends = [value] if not isinstance(value, dict) else [value["low"]["value"], value["high"]["value"]]
            return numbers(prefix, (Decimal(str(ends[0])), Decimal(str(ends[-1]))), rest)
        return self.near(value, text) if form == "position" else self.quantity(value, prefix, rest)

    @staticmethod
    def string(value: str, modifier: str, text: str) -> bool:
        if modifier == "exact":
            return value == text
        return folded(text) in folded(value) if modifier == "contains" else folded(value).startswith(folded(text))

    def token(self, value: Any, modifier: str, text: str, bound: str) -> bool:
        if modifier == "of-type":
            system, code, number = text.split("|")
            codings = values(value, "type.coding")
            return value.get("value") == number and any(
                (one.get("system"), one.get("code")) == (system, code) for one in codings
            )
        have = list(tokens(value, bound))
        if modifier == "text":
            return any(word and folded(word).startswith(folded(text)) for *_, words in have for word in words)
        if modifier == "in":
            return any((s, c) in self.value_sets[text] for s, c, _ in have)
        system, bar, code = text.partition("|")
        if modifier in ("above", "below"):
            among = {found for found in self.systems[system] if self.subsumes(system, *(
                (found, code) if modifier == "above" else (code, found)))}  # fmt: skip
            return any(s == system and c in among for s, c, _ in have)
        if not bar:
            return any(c == text for _, c, _ in have)
        return any(s == system and (not code or c == code) for s, c, _ in have)

    def subsumes(self, system: str, above: str, below: str) -> bool:
        return above == below or any(
            self.subsumes(system, above, parent) for parent in self.systems[system].get(below, ())
        )

    def refers(self, one: Json, code: str, modifier: str, text: str) -> bool:
        if modifier == "identifier":
            identifiers = (value["identifier"] for value in self.found(one, code) if "identifier" in value)
            return any(self.token(value, "", text, "") for value in identifiers)
        targets = self.targets(one, code)
        if modifier in ("above", "below"):
            asked = text if "/" in text else f"Location/{text}"
            return any(
                asked in self.upwards(target) if modifier == "below" else target in self.upwards(asked)
                for target in targets
            )
        if text.startswith("http") and not text.startswith(self.base):
            return any(target == text or target.startswith(f"{text}|") for target in targets)
        plain = text.removeprefix(f"{self.base}/")
        if "/" in plain:
            return plain in targets
        return any(target.endswith(f"/{plain}") and modifier in ("", target.split("/")[0]) for target in targets)

    def upwards(self, target: str) -> set[str]:
        one = self.all.get(tuple(target.split("/")))  # type: ignore[arg-type]
        parents = [] if one is None else list(values(one, "partOf.reference"))
        return {target, *(place for parent in parents for place in self.upwards(parent))}

    @staticmethod
    def quantity(value: Json, prefix: str, text: str) -> bool:
        asked, _, unit = text.partition("|")
        have = Decimal(str(value["value"]))
        if not unit:
            return numbers(prefix, (have, have), asked)
        system, _, code = unit.partition("|")
        own = value.get("code") or value.get("currency")
        if system == UCUM:
            if value.get("system") != UCUM or UNITS.get(str(own), ("",))[0] != UNITS[code][0]:
                return False
            have *= Decimal(UNITS[str(own)][1])
            return numbers(prefix, (have, have), asked, Decimal(UNITS[code][1]))
        same = code in (own, value.get("unit")) if not system else (own, value.get("system")) == (code, system)
        return same and numbers(prefix, (have, have), asked)

    @staticmethod
    def near(value: Json, text: str) -> bool:
        here = [math.radians(float(part)) for part in text.split("|")[:2]]
        there = math.radians(value["latitude"]), math.radians(value["longitude"])
        angle = math.acos(
            math.sin(here[0]) * math.sin(there[0])
            + math.cos(here[0]) * math.cos(there[0]) * math.cos(here[1] - there[1])
        )
        rest = text.split("|")[2:]
        reach = float(rest[0]) * (0.001 if rest[1:] == ["m"] else 1) if rest else 50
        return 6371 * angle <= reach

    @staticmethod
    def words(one: Json, code: str, text: str) -> bool:
        """One word, or words of which all are wanted."""

        def gathered(value: Any, name: str = "") -> str:
            if isinstance(value, dict):
                hidden = ("resourceType", "id", "meta", "reference", "system", "url", "data", "contentType")
                return " ".join(gathered(inner, key) for key, inner in value.items() if key not in hidden)
            if isinstance(value, list):
                return " ".join(gathered(inner) for inner in value)
            return re.sub("<[^>]*>", " ", value) if isinstance(value, str) else ""

        whole = gathered(one.get("text", {}).get("div", "") if code == "_text" else one)
        have = set(re.split(r"[\W_]+", folded(whole)))
        return all(word in have for word in folded(text).split())

    def included(self, matches: set[Key], query: str) -> set[Key]:
        """What _include and _revinclude add, with :iterate until nothing new comes."""
        asked = [(name, value) for name, value in parse_qsl(query) if "include" in name]
        known, fresh, first = set(matches), set(matches), True
        while fresh:
            found: set[Key] = set()
            for name, value in asked:
                if first or ":" in name:
                    found |= self.one_include(fresh, name.startswith("_rev"), value)
            fresh, first = found - known, False
            known |= fresh
        return known - matches

    def one_include(self, sources: set[Key], reverse: bool, value: str) -> set[Key]:
        kind, code, target_type, *_ = [*value.split(":"), "", ""]
        found: set[Key] = set()
        for key, one in self.all.items():
            if kind not in ("*", key[0]) or (not reverse and key not in sources):
                continue
            codes = PLACES.get(key[0], {}) if "*" in (kind, code) else [code]
            for target in {target for each in codes for target in self.targets(one, each)}:
                place = tuple(target.split("/"))
                if place not in self.all or target_type not in ("", place[0]):
                    continue
                if not reverse:
                    found.add(place)  # type: ignore[arg-type]
                elif place in sources:
                    found.add(key)
        return found


_SHAPING = {"_include", "_revinclude", "_sort", "_count", "_total", "_summary", "_elements", "_type"}
