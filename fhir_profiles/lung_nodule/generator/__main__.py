"""Writes the pathway's artifacts: ``python -m fhir_profiles.lung_nodule.generator`` in the root of the repository."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

from fhir_profiles.lung_nodule.generator import activities, overdue, response
from fhir_profiles.lung_nodule.generator.artifact import (
    BASE,
    SYSTEM,
    Resource,
    action,
    code_system,
    for_each,
    plan,
    quoted,
    variables,
    write,
)  # fmt: skip
from fhir_profiles.lung_nodule.generator.nodule import CHANGE, FACTS, LESION, REPORT

HERE = Path(__file__).parent.parent
TABLES = ("lung-rads-2022", "fleischner-2017", "c-lung-rads")
_AVAILABLE = f"{BASE}SubscriptionTopic/ai-result-available"
#: What the row says that stands for no nodule at all.
_NOTHING = "no nodule"
_NODULE = f"$this is Observation and code.coding.where(system = '{SYSTEM}' and code = 'nodule-category').exists()"


def table(name: str) -> Resource:
    """One table of the folder ``tables``."""
    return tomllib.loads(HERE.joinpath("tables", f"{name}.toml").read_text(encoding="utf-8"))


def _either(values: list[str], name: str) -> str:
    return "(" + " or ".join(f"{name} = {quoted(value)}" for value in values) + ")"


def _bounds(stated: list[float], name: str, volume: str, volumes: dict[float, int]) -> Iterator[str]:
    """From (inclusive) to (exclusive); 0 leaves a side open, but something has to be measured."""
    low, high = stated
    for value, sign in ((low, ">="), (high, "<")):
        if value:
            known = f" or {volume} {sign} {volumes[value]}" if value in volumes else ""
            yield f"({name} {sign} {value}{known})"


def condition(row: Resource, volumes: dict[float, int]) -> str:
    """Whether a row fits a nodule."""
    parts = []
    if "word" in row:
        parts.append("%words.where(" + _either(row["word"], "$this").strip("()") + ").exists()")
    if "density" in row:
        parts.append(_either(row["density"], "%density"))
    if "change" in row:
        parts.append(_either(row["change"], "%change"))
    if "size" in row:
        parts += _bounds(row["size"], "%diameter", "%volume", volumes)
    if "part" in row:
        parts += _bounds(row["part"], "%part", "%partVolume", volumes)
    if "also" in row:
        parts.append(f"({row['also']})")
    return " and ".join(parts) or "true"


def rows(found: Resource) -> Resource:
    """The plan that puts one nodule into a row of a table."""
    volumes = {size["mm"]: size["mm3"] for size in found.get("size", ())}
    system = f"{BASE}CodeSystem/{found['id']}"
    first = "".join(f"iif({condition(row, volumes)}, {quoted(row['id'])}, " for row in found["row"])
    stated = {
        "previous": (
            "Observation?focus={{iif(%lesion.focus.reference.exists(), %lesion.focus.reference.first(),"
            f" 'BodyStructure/none')}}}}&code={SYSTEM}|nodule-category&status=preliminary,final,corrected"
            "&date=lt{{iif(%seen.exists(), %seen.toString(), '1000-01-01')}}&_sort=-date"
        ),
        "last": f"%previous.where(value.coding.where(system = {quoted(system)}).exists()).first()",
        "before": "%last.value.coding.code",
        "beforeAt": "%last.effective",
        "row": f"{first}{{}}{')' * len(found['row'])}",
    }
    return plan(
        found["id"],
        f"{found['title']}: the row of one nodule",
        f"Source: {found['source']}. The first row that fits decides.",
        [_row(found, row, system) for row in found["row"]],
        stated=stated,
        relatedArtifact=[{"type": "citation", "citation": found["source"]}],
    )


def _row(found: Resource, row: Resource, system: str) -> Resource:
    category = quoted(row["category"])
    raising = found.get("raise", {})
    if row["category"] in raising.get("from", ()):
        category = f"iif({raising['when']}, {quoted(raising['to'])}, {category})"
    displays = {one["code"]: one["display"] for one in found["category"]}
    shown = quoted(displays[row["category"]])
    if "iif" in category:
        shown = f"iif(%category = {quoted(raising['to'])}, {quoted(displays[raising['to']])}, {shown})"
    stated = {
        "system": quoted(system),
        "method": quoted(f"{found['title']} ({found['source']})"),
        "label": quoted(found["label"]),
        "category": category,
        "display": shown,
        "rowText": quoted(row["text"]),
    }
    when = f"%row = {quoted(row['id'])}"
    return action(row["id"], row["text"], when=when, plan="record-nodule-category", extension=variables(stated))


def _by_statement(statements: list[Resource], name: str, otherwise: str) -> str:
    """What the first statement that was made says under ``name``, as FHIRPath."""
    cases = "".join(
        f"iif(%statements.where($this = {quoted(one['row'])}).exists(), {quoted(one[name])}, " for one in statements
    )
    return f"{cases}{quoted(otherwise)}{')' * len(statements)}"


def management(found: Resource) -> Resource:
    """The plan for the whole study: the most suspicious category, and what follows from it."""
    nothing = found.get("nothing", {})
    statements = found.get("statement", [])
    chosen = " | ".join(quoted(code) for code in found["order"])
    said = "".join(
        f" | iif(%statements.where($this = {quoted(one['row'])}).exists(), {quoted(one['category'])}, {{}})"
        for one in statements
    )
    empty = f"iif(%lesions.empty() and %found.empty(), {quoted(nothing['category'])}, {{}})" if nothing else "{}"
    stated = {
        "nodules": f"%made.where({_NODULE})",
        "found": f"%nodules.value.coding.code{said}",
        "category": f"({chosen}).where($this in (%found | {empty})).first()",
        "deciding": "%nodules.where(value.coding.code = %category).first()",
        "row": (
            "iif(%deciding.exists(),"
            " %deciding.component.where(code.coding.code = 'table-row').value.coding.code.first(),"
            f" {_by_statement(statements, 'row', nothing.get('row', ''))})"
        ),
        "rowText": (
            "iif(%deciding.exists(),"
            " %deciding.component.where(code.coding.code = 'table-row').value.text.first(),"
            f" {_by_statement(statements, 'text', _NOTHING if nothing else '')})"
        ),
        "system": quoted(f"{BASE}CodeSystem/{found['id']}"),
        "method": quoted(f"{found['title']} ({found['source']})"),
        "label": quoted(found["label"]),
        "codeOfCategory": quoted(found["code"]),
        "nameOfCategory": quoted(f"{found['title']} assessment category"),
        "modifier": "iif(%statements.where($this = 'significant-other-finding').exists(), 'S', '')",
    }
    special = [one["row"] for one in found.get("management", ())]
    actions = [_managed(one, f"%row = {quoted(one['row'])}", found, one["row"]) for one in found.get("management", ())]
    besides = f" and {_either(special, '%row')}.not()" if special else ""
    for one in found["category"]:
        actions.append(_managed(one, f"%category = {quoted(one['code'])}{besides}", found, one["code"]))
    return plan(
        f"{found['id']}-management",
        f"{found['title']}: category of the study, and follow-up",
        f"Source: {found['source']}. The most suspicious nodule decides.",
        actions,
        stated=stated,
        relatedArtifact=[{"type": "citation", "citation": found["source"]}],
    )


def _managed(one: Resource, when: str, found: Resource, id: str) -> Resource:
    displays = {each["code"]: each["display"] for each in found["category"]}
    category = one.get("code") or next(row["category"] for row in found["row"] if row["id"] == one["row"])
    low, high = one.get("due", (None, None))
    later = one.get("then", (None, None))
    request = one.get("request", "low-dose-chest-ct" if "Lung-RADS" in found["label"] else "chest-ct")

    def months(number: int | None) -> str:
        return "{}" if number is None else f"%seen + {number} months"

    stated = {
        "display": quoted(displays[category]),
        "recommendation": quoted(one["recommendation"]),
        "request": quoted(request),
        "requestName": quoted(activities.REQUESTS[request]),
        "due": months(low) if low == high else "{}",
        "dueFrom": months(low) if low != high else "{}",
        "dueTo": months(high) if low != high else "{}",
        "proposed": "true" if low is not None or "request" in one else "false",
        "urgent": "true" if one.get("urgent") else "false",
        "afterwards": quoted(one["afterwards"]) if "afterwards" in one else "{}",
        "laterFrom": months(later[0]),
        "laterTo": months(later[1]),
    }
    name = f"category-{id}" if id[0].isdigit() else id
    return action(
        name.lower(), one["recommendation"], when=when, plan="record-lung-nodule-assessment",
        extension=variables(stated),
    )  # fmt: skip


def models(found: Resource) -> Resource:
    """The plan that computes the malignancy models of one nodule."""
    stated, actions = {}, []
    for model in found["model"]:
        name = "".join(part.capitalize() for part in model["id"].split("-"))
        terms = "".join(f" + {_decimal(weight)} * {text}" for weight, text in model["terms"])
        missing = " | ".join(f"iif({found['input'][one]}.exists(), {{}}, {quoted(one)})" for one in model["inputs"])
        stated |= {
            f"missing{name}": missing,
            f"x{name}": f"{_decimal(model['constant'])}{terms}",
            f"p{name}": f"1 / (1 + (0 - %x{name}).exp())",
        }
        given = " & '; ' & ".join(
            f"{quoted(f'{one} = ')} & {found['input'][one]}.toString()" for one in model["inputs"]
        )
        own = {
            "model": quoted(model["id"]),
            "modelName": quoted(f"{model['title']} ({model['source']})"),
            "missing": f"%missing{name}",
            "probabilityOfModel": f"iif(%missing.empty(), (%p{name} * 100).round(5), {{}})",
            "given": given,
        }
        when = f"(%missing{name}.empty() or %facts.exists())"
        if "when" in model:
            when += f" and {model['when']}"
        actions.append(
            action(model["id"], model["title"], when=when, activity="malignancy-risk", extension=variables(own))
        )
    description = (
        "Each model as far as its inputs are there; it is withheld, and says what is missing, where they are not."
    )
    return plan("lung-malignancy-models", "Malignancy models of one nodule", description, actions, stated=stated)


def _decimal(number: float) -> str:
    return f"({number})" if number < 0 else str(number)


def assess() -> Resource:
    """The plan that answers a result: guideline by context, each nodule, then the study."""
    tables = [action(f"row-{name}", "Row", when=f"%guideline = '{name}'", plan=name) for name in TABLES]
    each = action(
        "nodule",
        "Each nodule",
        extension=[for_each("lesion", "%lesions"), *variables(LESION)],
        action=[
            *tables,
            action("change", "Volume change", plan="lung-nodule-change"),
            action("models", "Malignancy models", plan="lung-malignancy-models"),
        ],
    )
    decide = [
        action(
            f"decide-{name}",
            "The study",
            when=f"%guideline = '{name}' and %fetched.not()",
            plan=f"{name}-management",
        )
        for name in TABLES
    ]
    treated = action(
        "response", "Response to treatment", when="%contexts.where($this = 'recist-1-1').exists()", plan="recist-1-1"
    )
    close = action(
        "answered",
        "What the study answers is completed",
        extension=[for_each("request", "%answered"), *variables({"identity": "%request.id"})],
        activity="answered-follow-up",
    )
    when = (
        "status != 'amended' and %study.series.where(modality.code = 'CT').exists() and (%lesions.exists()"
        " or meta.tag.where(system = 'urn:hutong:adapter' and code = 'nodule_detection').exists())"
    )
    told = action(
        "answered-overdue",
        "What was told to be overdue is completed with it",
        extension=[for_each("overdueTask", "%overdue"), *variables({"identity": "%overdueTask.id"})],
        activity="answered-overdue",
    )
    open_requests = {
        "open": (
            "ServiceRequest?subject={{iif(subject.reference.exists(), subject.reference.first(), 'Patient/none')}}"
            f"&status=draft,active&code={','.join(f'{SYSTEM}|{code}' for code in activities.REQUESTS)}"
        ),
        "answered": (
            "%open.where(supportingInfo.resolve().where($this is DiagnosticReport)"
            ".imagingStudy.resolve().started < %seen"
            " and (code.coding.where(code = 'later-chest-ct').exists().not() or occurrence.start <= %seen))"
        ),
        "overdue": overdue.OPEN,
    }
    trigger = [{"type": "named-event", "name": _AVAILABLE}]
    whole = action(
        "assess",
        "Assess",
        when=when,
        extension=variables(open_requests),
        trigger=trigger,
        action=[each, *decide, treated, close, told],
    )
    return plan(
        "assess-lung-nodules",
        "Put nodules into categories, and propose the follow-up",
        "Answers the topic ai-result-available: each nodule's row in the table that the context asks for, its change"
        " and malignancy models; then the study's category, follow-up, flag and message.",
        [whole],
        stated=REPORT,
    )


def change() -> Resource:
    """The plan for the change of one nodule's volume."""
    alone = "%changeTold.empty() and %days > 0"
    actions = [
        action("volume-change", "Volume change", when=f"%ratio.exists() and {alone}", activity="volume-change"),
        action("doubling-time", "Doubling time", when=f"%ratio >= 1.25 and {alone}", activity="volume-doubling-time"),
    ]
    description = (
        "Against the latest earlier measurement of the same lesion, where the report itself tells of no change: who"
        " compared both studies knows better. Less than 25 % is noise: no doubling time."
    )
    return plan("lung-nodule-change", "Volume change of one nodule", description, actions, stated=CHANGE)


def artifacts() -> Iterator[Resource]:
    """All that is generated."""
    found = {name: table(name) for name in TABLES}
    yield assess()
    yield change()
    yield models(table("malignancy-models"))
    yield from activities.plans()
    yield from activities.activities()
    yield from overdue.artifacts()
    yield from response.plans()
    yield from response.activities(activities.OBSERVED, activities.IMAGING)
    for name, one in found.items():
        yield rows(one)
        yield management(one)
        codes = {each["code"]: each["display"] for each in one["category"]}
        description = "No code of a standard terminology could be verified for these."
        yield code_system(name, f"{one['title']} categories", description, codes)
        words = {row["id"]: row["text"] for row in one["row"]} | {
            each["row"]: each["text"] for each in one.get("statement", ())
        }
        if "nothing" in one:
            words[one["nothing"]["row"]] = _NOTHING
        yield code_system(
            f"{name}-rows", f"{one['title']} rows", "The rows of the table, by the names they have here.", words
        )
    yield code_system(
        "lung-nodule",
        "Concepts of the lung nodule pathway",
        "Concepts for which no code of a standard terminology could be verified.",
        activities.CODES | response.CODES | FACTS,
    )


def main() -> None:
    """Writes them."""
    for one in artifacts():
        write(HERE, one)


if __name__ == "__main__":
    main()
