"""What the pathway writes: categories, requests, plan, flag, message, change and models."""

from collections.abc import Iterator

from fhir_profiles.lung_nodule.generator.artifact import SYSTEM, Resource, action, activity, coded, plan, quoted

#: What is asked for.
REQUESTS = {
    "low-dose-chest-ct": "Low-dose CT of the chest",
    "chest-ct": "CT of the chest",
    "later-chest-ct": "Later CT of the chest",
    "diagnostic-work-up": "Diagnostic work-up of a lung nodule",
}
#: Codes of a study's category.
STUDY_CODES = ("lung-rads-category", "c-lung-rads-category", "fleischner-recommendation")
#: Every other code of the pathway.
CODES = {
    **REQUESTS,
    "lung-rads-category": "Lung-RADS v2022 assessment category",
    "c-lung-rads-category": "C-Lung-RADS assessment category",
    "fleischner-recommendation": "Fleischner Society 2017 recommendation",
    "nodule-category": "Category of one nodule",
    "table-row": "Row of the guideline's table",
    "modifier": "Modifier of the category",
    "volume-change": "Volume change of a nodule",
    "volume-doubling-time": "Volume doubling time of a nodule",
    "shortest": "Shortest that measurement allows",
    "longest": "Longest that measurement allows",
    "brock-1b": "Brock (PanCan) 1b",
    "brock-2b": "Brock (PanCan) 2b, full",
    "mayo": "Mayo",
    "herder": "Herder (Mayo with PET)",
    "urgent-nodule": "Very suspicious lung nodule",
    "assessment-available": "Assessment of lung nodules available",
    "solid-component-diameter": "Diameter of the solid part",
    "solid-component-volume": "Volume of the solid part",
    "solid": "Solid",
    "part-solid": "Part-solid",
    "smooth": "Smooth margin",
    "juxtapleural": "Juxtapleural",
    "airway-subsegmental": "In a subsegmental airway",
    "airway-segmental": "In a segmental or more proximal airway",
    "thick-walled-cyst": "Thick-walled cyst",
    "multilocular-cyst": "Multilocular cyst",
    "growing-cystic-component": "Growing cystic component",
    "benign-calcification": "Benign calcification",
    "fat": "Contains fat",
    "infectious": "Suggests infection or inflammation",
    "proven-benign": "Proven to be benign",
    "suspicious-feature": "Feature that increases suspicion",
    "new": "New",
    "growing": "Growing",
    "slow-growing": "Slowly growing",
    "stable": "Stable",
    "prior-pending": "Prior examination awaited",
    "not-evaluable": "Not evaluable",
    "significant-other-finding": "Other significant finding",
    "incidental-nodule": "Nodule found by chance",
    "lung-cancer-screening": "Screening for lung cancer",
    "none": "None",
    "faint": "Faint",
    "moderate": "Moderate",
    "intense": "Intense",
    "low": "Low",
    "high": "High",
}
#: Category of every Observation of the pathway.
IMAGING = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/observation-category",
            "code": "imaging",
            "display": "Imaging",
        }
    ]
}
#: What every Observation of the pathway has.
OBSERVED = {
    "meta.security[0].system": "'http://terminology.hl7.org/CodeSystem/v3-ObservationValue'",
    "meta.security[0].code": "'AIAST'",
    "meta.security[0].display": "'Artificial Intelligence asserted'",
    "subject": "subject",
    "partOf": "imagingStudy",
    "effectiveDateTime": "%seen",
    "issued": "%event.recorded",
}
#: Until the report's subject takes its place.
_PATIENT = {"display": "the patient"}
_REPORT = "'DiagnosticReport/' + id"
_LESION = "'Observation/' + %lesion.id"


def _observation(code: str = "") -> Resource:
    named = {"code": coded(code, CODES[code]) if code else {"text": "Assessment category"}}
    return {"resourceType": "Observation", "status": "preliminary", "category": [IMAGING], **named}


def _component(at: int, code: str) -> dict[str, str]:
    place = f"component[{at}].code.coding[0]"
    return {
        f"{place}.system": quoted(SYSTEM),
        f"{place}.code": quoted(code),
        f"{place}.display": quoted(CODES[code]),
    }


_ROW = {
    **_component(0, "table-row"),
    "component[0].valueCodeableConcept.coding[0].system": "%system & '-rows'",
    "component[0].valueCodeableConcept.coding[0].code": "%row",
}


def activities() -> Iterator[Resource]:
    """Every ActivityDefinition of the assessment."""
    yield _nodule_category()
    yield _study_category()
    yield _follow_up()
    yield _later()
    yield _care_plan()
    yield _flag()
    yield _message()
    yield _answered()
    yield _volume_change()
    yield _doubling_time()
    yield _malignancy()


def _value(text: str) -> dict[str, str]:
    return {
        "valueCodeableConcept.coding[0].system": "%system",
        "valueCodeableConcept.coding[0].code": "%category",
        "valueCodeableConcept.coding[0].display": "%display",
        "valueCodeableConcept.text": text,
    }


def _nodule_category() -> Resource:
    values = {
        **OBSERVED,
        "focus": "%lesion.focus",
        "bodySite": "%lesion.bodySite",
        "derivedFrom[0].reference": _LESION,
        "method.text": "%method",
        **_value("%label & ' ' & %category"),
        **_ROW,
        "component[0].valueCodeableConcept.text": "%rowText",
    }
    return activity(
        "nodule-category", "The category of one nodule", "With the row of the table that it stands in.", values,
        template=_observation("nodule-category"),
    )  # fmt: skip


def _study_category() -> Resource:
    values = {
        **OBSERVED,
        "code.coding[0].system": quoted(SYSTEM),
        "code.coding[0].code": "%codeOfCategory",
        "code.coding[0].display": "%nameOfCategory",
        "code.text": "%nameOfCategory",
        "derivedFrom": "result",
        "method.text": "%method & '; density not stated counts as solid'",
        **_value("%label & ' ' & %category & %modifier"),
        **_ROW,
        "component[0].valueCodeableConcept.text": "%rowText",
    }
    values |= {
        "component[1].code.coding[0].system": f"iif(%modifier != '', {quoted(SYSTEM)}, {{}})",
        "component[1].code.coding[0].code": "iif(%modifier != '', 'modifier', {})",
        "component[1].valueString": "iif(%modifier != '', %modifier, {})",
    }
    return activity(
        "lung-assessment-category", "The category of the study", "The most suspicious nodule's.", values,
        template=_observation(),
    )  # fmt: skip


def _follow_up() -> Resource:
    values = {
        "code.coding[0].system": quoted(SYSTEM),
        "code.coding[0].code": "%request",
        "code.coding[0].display": "%requestName",
        "code.text": "%recommendation",
        "priority": "iif(%urgent, 'urgent', 'routine')",
        "subject": "subject",
        "occurrenceDateTime": "%due",
        "occurrencePeriod.start": "%dueFrom",
        "occurrencePeriod.end": "%dueTo",
        "reasonReference[0].reference": "%created.category.reference",
        "supportingInfo[0].reference": _REPORT,
        "note[0].text": "%method & ', row ' & %row",
    }
    description = "A proposal, for a person to order or not. Without occurrence it is meant now."
    return activity("lung-nodule-follow-up", "The proposed follow-up", description, values, kind="ServiceRequest")


def _later() -> Resource:
    values = {
        "code.coding[0].system": quoted(SYSTEM),
        "code.coding[0].code": "'later-chest-ct'",
        "code.coding[0].display": quoted(REQUESTS["later-chest-ct"]),
        "code.text": "%afterwards",
        "priority": "'routine'",
        "subject": "subject",
        "occurrencePeriod.start": "%laterFrom",
        "occurrencePeriod.end": "%laterTo",
        "reasonReference[0].reference": "%created.category.reference",
        "supportingInfo[0].reference": _REPORT,
        "note[0].text": "%method & ', row ' & %row",
    }
    description = "What the guideline asks for after the first follow-up."
    return activity(
        "lung-nodule-later-follow-up", "The follow-up after that", description, values, kind="ServiceRequest"
    )


def _care_plan() -> Resource:
    values = {
        "status": "'draft'",
        "title": "'Follow-up of lung nodules'",
        "description": "%recommendation",
        "subject": "subject",
        "created": "%event.recorded",
        "supportingInfo[0].reference": _REPORT,
        "supportingInfo[1].reference": "%created.category.reference",
        "activity[0].reference.reference": "iif(%proposed, %created.followUp.reference, {})",
        "activity[1].reference.reference": "iif(%afterwards.exists(), %created.later.reference, {})",
    }
    description = "A draft CarePlan with the proposed follow-up as its activity."
    return activity("lung-nodule-care-plan", "The plan that holds the proposal", description, values, kind="CarePlan")


def _flag() -> Resource:
    template = {
        "resourceType": "Flag",
        "status": "active",
        "code": coded("urgent-nodule", CODES["urgent-nodule"]),
        "subject": _PATIENT,
    }
    values = {
        "subject": "subject",
        "period.start": "%event.recorded",
        "code.text": "%label & ' ' & %category & ': ' & %recommendation",
        "extension[0].url": "'http://hl7.org/fhir/StructureDefinition/flag-detail'",
        "extension[0].valueReference.reference": "%created.category.reference",
    }
    return activity("urgent-lung-nodule", "A flag on the patient", "For what can't wait.", values, template=template)


def _message() -> Resource:
    template = {
        "resourceType": "Communication",
        "status": "preparation",
        "topic": coded("assessment-available", CODES["assessment-available"]),
    }
    values = {
        "priority": "iif(%urgent, 'urgent', 'routine')",
        "subject": "subject",
        "basedOn": "%study.basedOn",
        "about[0].reference": _REPORT,
        "about[1].reference": "%created.category.reference",
        "recipient": "%orders.requester",
        "payload[0].contentString": "%label & ' ' & %category & %modifier & ': ' & %recommendation",
    }
    description = "To whoever ordered the study, where the order is here."
    return activity("tell-the-orderer", "A message to the orderer", description, values, template=template)


def _answered() -> Resource:
    values = {"status": "'completed'"}
    description = "A follow-up that a later CT of the same patient answers."
    return activity("answered-follow-up", "A follow-up that was done", description, values, changed="%request")


def _volume_change() -> Resource:
    values = {
        **OBSERVED,
        "focus": "%lesion.focus",
        "bodySite": "%lesion.bodySite",
        "derivedFrom[0].reference": _LESION,
        "derivedFrom[1].reference": "'Observation/' + %measured.id",
        "valueQuantity.value": "((%ratio - 1) * 100).round(1)",
        "valueQuantity.unit": "'%'",
        "valueQuantity.system": "'http://unitsofmeasure.org'",
        "valueQuantity.code": "'%'",
        "note[0].text": "iif(%ratio < 1.25 and %ratio > 0.8, 'Less than 25 %: within what readers differ by.', {})",
    }
    return activity(
        "volume-change", "How much the volume has changed", "Against the latest earlier one.", values,
        template=_observation("volume-change"),
    )  # fmt: skip


def _doubling_time() -> Resource:
    values = {
        **OBSERVED,
        "focus": "%lesion.focus",
        "bodySite": "%lesion.bodySite",
        "derivedFrom[0].reference": _LESION,
        "derivedFrom[1].reference": "'Observation/' + %measured.id",
        "valueQuantity.value": "%doublingTime.round(1)",
        **{
            f"valueQuantity.{name}": quoted(text)
            for name, text in {"unit": "d", "system": "http://unitsofmeasure.org", "code": "d"}.items()
        },
    }
    for at, name in enumerate(("shortest", "longest")):
        known = f"%{name}.exists()"
        values |= {
            path: f"iif({known}, {text}, {{}})"
            for path, text in (
                *_component(at, name).items(),
                (f"component[{at}].valueQuantity.value", f"%{name}.round(1)"),
                (f"component[{at}].valueQuantity.system", "'http://unitsofmeasure.org'"),
                (f"component[{at}].valueQuantity.code", "'d'"),
            )
        }
    return activity(
        "volume-doubling-time", "Volume doubling time", "With what a quarter more or less would make of it.",
        values, template=_observation("volume-doubling-time"),
    )  # fmt: skip


def _malignancy() -> Resource:
    template = {
        "resourceType": "RiskAssessment",
        "status": "preliminary",
        "code": {"text": "Probability that a lung nodule is malignant"},
        "subject": _PATIENT,
        "prediction": [{"outcome": {"text": "Malignant"}}],
    }
    values = {
        "subject": "subject",
        "occurrenceDateTime": "%seen",
        "method.coding[0].system": quoted(SYSTEM),
        "method.coding[0].code": "%model",
        "method.text": "%modelName",
        "basis[0].reference": _LESION,
        "prediction[0].probabilityDecimal": "%probabilityOfModel",
        "prediction[0].rationale": (
            "iif(%missing.exists(), 'Withheld; missing: ' & %missing.join(', '), 'Percent; from ' & %given)"
        ),
        "note[0].text": "'Inputs: ' & %given",
    }
    return activity("malignancy-risk", "A malignancy model", "Of one nodule.", values, template=template)


def plans() -> Iterator[Resource]:
    """The plans that write a category."""
    yield plan(
        "record-nodule-category",
        "Write the category of one nodule",
        "Its variables come from the row that refers to it.",
        [action("nodule", "Category of the nodule", activity="nodule-category")],
    )
    yield plan(
        "record-lung-nodule-assessment",
        "Write the category, the follow-up, the plan that holds it, flag and message",
        "Its variables come from the category that refers to it.",
        [
            action("category", "Category of the study", activity="lung-assessment-category"),
            action("followUp", "Follow-up", when="%proposed", activity="lung-nodule-follow-up"),
            action(
                "later", "Follow-up after that", when="%afterwards.exists()", activity="lung-nodule-later-follow-up"
            ),
            action("carePlan", "Plan", when="%proposed", activity="lung-nodule-care-plan"),
            action("flag", "Flag", when="%urgent", activity="urgent-lung-nodule"),
            action("tell", "Message", when="%orders.requester.exists()", activity="tell-the-orderer"),
        ],
    )
