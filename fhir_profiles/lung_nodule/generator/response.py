"""Response to treatment, RECIST 1.1: the sum of a study, and what it is against baseline and smallest sum."""

from collections.abc import Iterator

from fhir_profiles.lung_nodule.generator.artifact import (
    SYSTEM,
    Resource,
    action,
    activity,
    coded,
    for_each,
    plan,
    quoted,
    variables,
)
from fhir_profiles.lung_nodule.generator.nodule import number_of

SOURCE = "RECIST 1.1, PMC2755245, with its table 3"
CODES = {
    "recist-1-1": "RECIST 1.1",
    "sum-of-diameters": "Sum of the target lesions' diameters",
    "target-response": "Response of the target lesions",
    "response-not-evaluable": "Response not evaluable",
    "lymph-node": "Lymph node",
    "resolved": "Resolved",
    "non-target-response": "Response of the non-target lesions",
    "overall-response": "Overall response",
    "complete-response": "Complete response",
    "partial-response": "Partial response",
    "stable-disease": "Stable disease",
    "progressive-disease": "Progressive disease",
}
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_WORDS = "hasMember.resolve().value.coding.code"
_NODE = f"{_WORDS}.where($this = 'lymph-node').exists()"
_LONG, _SHORT, _DIAMETER = number_of("103339001"), number_of("103340004"), number_of("81827009")
_SIZE = (
    f"iif({_WORDS}.where($this = 'resolved').exists() or value.coding.where(code = '272519000').exists(), 0,"
    f" iif({_NODE}, {_SHORT}, iif({_LONG}.exists(), {_LONG}, {_DIAMETER})))"
)
#: Not there any more; a node of less than 10 mm is a normal one (table 3).
_GONE = (
    f"({_WORDS}.where($this = 'resolved').exists() or value.coding.where(code = '272519000').exists()"
    f" or ({_NODE} and {_SHORT} < 10))"
)
_PROBLEM = "$this is Observation and code.coding.where(code = 'response-not-evaluable').exists()"
#: What makes a response impossible, and what is said of it.
_PROBLEMS = {
    "no-targets": ("%targets.empty()", "no target lesion is marked"),
    "too-many": ("%baseline.empty() and %targets.count() > 5", "more than five target lesions"),
    "too-small": (
        f"%baseline.empty() and %targets.where({_SIZE} < iif({_NODE}, 15, 10)).exists()",
        "a target lesion is smaller than 10 mm (long axis), or a node than 15 mm (short axis)",
    ),
    "not-measured": (
        f"%targets.where({_SIZE}.empty()).exists() or %targets.count() < %wanted.count()",
        "a target lesion was not measured in this study",
    ),
}

STATED = {
    "sums": (
        "Observation?subject={{iif(subject.reference.exists(), subject.reference.first(), 'Patient/none')}}"
        f"&code={SYSTEM}|sum-of-diameters&status=preliminary,final,corrected"
        "&date=lt{{iif(%seen.exists(), %seen.toString(), '1000-01-01')}}&_sort=date"
    ),
    "baseline": "%sums.first()",
    "wanted": "%baseline.derivedFrom.resolve().focus.reference",
    "targets": (
        "result.resolve().where(iif(%baseline.exists(), focus.reference.where($this in %wanted).exists(),"
        f" {_WORDS}.where($this = '112074').exists()))"
    ),
    "organs": "%targets.bodySite.coding.code",
    "sum": f"%targets.select({_SIZE}).aggregate($this + $total, 0)",
    "first": "%baseline.value.value",
    "nadir": "%sums.value.value.aggregate(iif($total.empty() or $this < $total, $this, $total))",
    "newLesion": f"result.resolve().where({_WORDS}.where($this = 'new' or $this = '129721008').exists()).exists()",
    "response": (
        "iif(%newLesion or (%sum >= %nadir * 1.2 and %sum - %nadir >= 5), '112043',"
        f" iif(%targets.where({_GONE}.not()).empty(), '112041', iif(%sum <= %first * 0.7, '112042', '112044')))"
    ),
    # Whoever reports marks the other lesions at baseline (CID 6145), and says when one has unequivocally grown.
    "marked": (
        "Observation?subject={{iif(subject.reference.exists(), subject.reference.first(), 'Patient/none')}}"
        "&value-concept=112075&status=preliminary,final,corrected"
        "&date=lt{{iif(%seen.exists(), %seen.toString(), '1000-01-01')}}"
    ),
    "othersWanted": "%marked.focus.reference.distinct()",
    "others": (
        "result.resolve().where(focus.reference.where($this in %othersWanted).exists()"
        f" or {_WORDS}.where($this = '112075').exists())"
    ),
    "othersSeen": "%others.focus.reference",
    "othersMissing": "%othersWanted.where(($this in %othersSeen).not()).exists()",
    "nonTarget": (
        "iif(%others.empty() and %othersWanted.empty(), {},"
        f" iif(%others.where({_WORDS}.where($this = '112047').exists()).exists(), '112047',"
        f" iif(%othersMissing, {{}}, iif(%others.where({_GONE}.not()).empty(), '112045', '112046'))))"
    ),
    "overall": (
        "iif(%response = '112043' or %nonTarget = '112047', 'progressive-disease',"
        " iif(%response = '112042', 'partial-response', iif(%response = '112044', 'stable-disease',"
        " iif(%othersWanted.empty() and %others.empty(), 'complete-response',"
        " iif(%nonTarget = '112045', 'complete-response', iif(%nonTarget = '112046', 'partial-response', {}))))))"
    ),
}
_OTHERS = {
    "112045": "Non-Target Lesion Complete Response",
    "112046": "Non-Target Lesion Incomplete Response or Stable Disease",
    "112047": "Non-Target Lesion Progressive Disease",
}
_RESPONSES = {
    "112041": "Target Lesion Complete Response",
    "112042": "Target Lesion Partial Response",
    "112043": "Target Lesion Progressive Disease",
    "112044": "Target Lesion Stable Disease",
}


def plans() -> Iterator[Resource]:
    """The plan of one study."""
    sound = f"%made.where({_PROBLEM}).empty()"
    actions = [
        action(name, said, when=when, activity="response-not-evaluable", extension=variables({"problem": quoted(said)}))
        for name, (when, said) in _PROBLEMS.items()
    ]
    actions.append(
        action(
            "organ", "More than two in an organ", activity="response-not-evaluable",
            when="%baseline.empty() and %organs.where($this = %organ).count() > 2",
            extension=[
                for_each("organ", "%organs.distinct()"),
                *variables({"problem": quoted("more than two target lesions in an organ")}),
            ],
        )
    )  # fmt: skip
    actions.append(action("sum", "The sum", when=sound, activity="sum-of-diameters"))
    for code, display in _RESPONSES.items():
        stated = {"responseName": quoted(display)}
        when = f"{sound} and %baseline.exists() and %response = '{code}'"
        actions.append(
            action(f"response-{code}", display, when=when, plan="record-response", extension=variables(stated))
        )
    followed = f"{sound} and %baseline.exists()"
    actions += [
        action(
            "others", "The other lesions", when=f"{followed} and %nonTarget.exists()", activity="non-target-response"
        ),
        action("overall", "All of it", when=f"{followed} and %overall.exists()", activity="overall-response"),
    ]
    said = "a non-target lesion was not looked at in this study"
    actions.append(
        action(
            "others-not-seen", said, when=f"{followed} and %overall.empty()", activity="response-not-evaluable",
            extension=variables({"problem": quoted(said)}),
        )
    )  # fmt: skip
    description = "Against the first study's sum and the smallest before; target lesions are those marked at baseline."
    citation = [{"type": "citation", "citation": SOURCE}]
    yield plan("recist-1-1", "RECIST 1.1", description, actions, stated=STATED, relatedArtifact=citation)
    yield plan(
        "record-response", "Write the response", "Its variables come from the response that refers to it.",
        [action("response", "Response", activity="target-response")],
    )  # fmt: skip


def activities(observed: dict[str, str], imaging: Resource) -> Iterator[Resource]:
    """What the plan writes; ``observed`` is what every Observation has."""
    template = {"resourceType": "Observation", "status": "preliminary", "category": [imaging]}
    targets = "%targets.select('Observation/' + id)"
    millimetres = {"unit": "mm", "system": "http://unitsofmeasure.org", "code": "mm"}
    unit = {f"valueQuantity.{name}": quoted(text) for name, text in millimetres.items()}
    derived = {f"derivedFrom[{at}].reference": f"{targets}.skip({at}).first()" for at in range(5)}
    yield activity(
        "sum-of-diameters", "The sum of a study", "Long axes, of nodes the short ones.",
        {**observed, **derived, "method.text": quoted(SOURCE), "valueQuantity.value": "%sum", **unit},
        template={**template, "code": coded("sum-of-diameters", CODES["sum-of-diameters"])},
    )  # fmt: skip
    values = {
        **observed,
        **derived,
        "method.text": quoted(SOURCE),
        "valueCodeableConcept.coding[0].system": quoted(_DCM),
        "valueCodeableConcept.coding[0].code": "%response",
        "valueCodeableConcept.coding[0].display": "%responseName",
        "note[0].text": (
            "'Sum ' & %sum.toString() & ' mm; baseline ' & %first.toString() & ' mm; smallest before '"
            " & %nadir.toString() & ' mm' & iif(%newLesion, '; a new lesion', '')"
        ),
    }
    yield activity(
        "target-response", "The response", "Against baseline and nadir.", values,
        template={**template, "code": coded("target-response", CODES["target-response"])},
    )  # fmt: skip
    yield _others(observed, template)
    yield _overall(observed, template)
    absent = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
    yield activity(
        "response-not-evaluable", "Why there is no response", "One for each reason.",
        {
            **observed,
            "method.text": quoted(SOURCE),
            "dataAbsentReason.coding[0].system": quoted(absent),
            "dataAbsentReason.coding[0].code": "'error'",
            "dataAbsentReason.text": "%problem",
        },
        template={**template, "code": coded("response-not-evaluable", CODES["response-not-evaluable"])},
    )  # fmt: skip


def _shown(names: dict[str, str], code: str) -> str:
    """The display of a code that a variable holds."""
    return (
        "".join(f"iif({code} = {quoted(one)}, {quoted(name)}, " for one, name in names.items())
        + "{}"
        + ")" * len(names)
    )


def _others(observed: dict[str, str], template: Resource) -> Resource:
    values = {
        **observed,
        **{
            f"derivedFrom[{at}].reference": f"%others.select('Observation/' + id).skip({at}).first()"
            for at in range(10)
        },
        "method.text": quoted(SOURCE),
        "valueCodeableConcept.coding[0].system": quoted(_DCM),
        "valueCodeableConcept.coding[0].code": "%nonTarget",
        "valueCodeableConcept.coding[0].display": _shown(_OTHERS, "%nonTarget"),
        "note[0].text": quoted("Tumour markers are not read."),
    }
    return activity(
        "non-target-response", "The other lesions", "Gone, there, or unequivocally grown, as it is stated.", values,
        template={**template, "code": coded("non-target-response", CODES["non-target-response"])},
    )  # fmt: skip


def _overall(observed: dict[str, str], template: Resource) -> Resource:
    names = ("complete-response", "partial-response", "stable-disease", "progressive-disease")
    values = {
        **observed,
        "derivedFrom": "result",
        "method.text": quoted(SOURCE),
        "valueCodeableConcept.coding[0].system": quoted(SYSTEM),
        "valueCodeableConcept.coding[0].code": "%overall",
        "valueCodeableConcept.coding[0].display": _shown({name: CODES[name] for name in names}, "%overall"),
        "note[0].text": quoted(
            "From target, non-target and new lesions; tumour markers are not read, nothing is confirmed."
        ),
    }
    return activity(
        "overall-response", "The response as a whole", "Targets, the other lesions and new ones together.", values,
        template={**template, "code": coded("overall-response", CODES["overall-response"])},
    )  # fmt: skip
