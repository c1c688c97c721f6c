"""Follow-ups whose time is over and that no study answered: found by a Measure, and told of by a Task, once each."""

from collections.abc import Iterator

from fhir_profiles.lung_nodule.generator.activities import REQUESTS, STUDY_CODES
from fhir_profiles.lung_nodule.generator.artifact import (
    BASE,
    SYSTEM,
    Resource,
    action,
    activity,
    measure,
    plan,
    quoted,
    url,
    variables,
)

_TASK_CODES = f"{BASE}CodeSystem/task-code"
CODE = "followup-overdue"
_MEASURE, _PLAN = "overdue-follow-ups", "announce-overdue-follow-ups"
_OCCURRENCE = "iif(occurrence.end.exists(), occurrence.end, occurrence).toString().substring(0, 10)"
#: The last day of a request, as text; of what names a month or year only, the last of those.
DUE = f"{_OCCURRENCE}.select(iif(length() = 4, $this & '-12-31', iif(length() = 7, $this & '-31', $this)))"
#: The Tasks on requests that a study answers, that nobody has ended.
OPEN = (
    "Task?focus={{iif(%answered.exists(), %answered.select('ServiceRequest/' & id), 'ServiceRequest/none')}}"
    f"&code={_TASK_CODES}|{CODE}&status=requested,received,accepted,ready,in-progress,on-hold"
)
_NAME = "id & ' ' & %due"
#: What a later study of the patient was assessed as: that one answers, whether or not it came in later.
_ANSWER = {
    "studied": "supportingInfo.resolve().where($this is DiagnosticReport).imagingStudy.resolve().started.first()",
    "isLater": "code.coding.where(code = 'later-chest-ct').exists()",
    "from": "iif(%isLater, occurrence.start.toString().substring(0, 10), '')",
    "later": (
        "Observation?subject={{iif(subject.reference.exists(), subject.reference.first(), 'Patient/none')}}"
        f"&code={','.join(f'{SYSTEM}|{code}' for code in STUDY_CODES)}"
        "&date=gt{{iif(%studied.exists(), %studied.toString(), '9999-12-31')}}"
    ),
    "answers": "%later.where(effective.toString().substring(0, 10) >= %from)",
}


def artifacts() -> Iterator[Resource]:
    """Measure, plan and what the plan writes."""
    codes = ",".join(f"{SYSTEM}|{code}" for code in REQUESTS)
    yield measure(
        _MEASURE,
        "Overdue follow-ups of lung nodules",
        "Of the follow-ups whose last day lies in the period and is over: those that no study has answered. What a"
        " study answers, the assessment completes.",
        {
            "initial-population": (
                f"ServiceRequest?status=draft,active,completed&code={codes}&occurrence=le{{{{%periodEnd}}}}"
            ),
            "denominator": "%due >= %periodStart and %due <= %periodEnd and %due < %today",
            "numerator": "status != 'completed' and %answers.empty()",
        },
        stated={"due": DUE, **_ANSWER},
        subject="ServiceRequest",
    )
    trigger = {"type": "periodic", "timingTiming": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}}
    numerator = {
        "url": f"{BASE}StructureDefinition/action-for-numerator",
        "valueCanonical": url("Measure", _MEASURE),
    }
    told = f"Task?identifier={url('PlanDefinition', _PLAN)}|{{{{%name}}}}"
    announce = action(
        "announce",
        "Tell of it once",
        when="(status = 'draft' or status = 'active') and %told.empty()",
        activity=CODE,
        extension=[
            numerator,
            # One Task for each last day: who moves a follow-up gives it another.
            *variables({"due": DUE, "name": _NAME, "identity": "'ServiceRequest/' & %name", "told": told}),
        ],
        trigger=[trigger],
    )
    description = "By the clock, for each resource in the numerator of the Measure overdue-follow-ups."
    yield plan(_PLAN, "Tell of overdue follow-ups", description, [announce], subject="ServiceRequest")
    yield _task()
    yield activity(
        "answered-overdue",
        "An overdue follow-up that was done",
        "The Task on a follow-up that a later CT answers.",
        {"status": "'completed'"},
        changed="%overdueTask",
    )


def _task() -> Resource:
    values = {
        "status": "'requested'",
        "identifier[0].system": quoted(url("PlanDefinition", _PLAN)),
        "identifier[0].value": "%name",
        "code.coding[0].system": quoted(_TASK_CODES),
        "code.coding[0].code": quoted(CODE),
        "code.coding[0].display": "'Overdue follow-up'",
        "priority": "priority",
        "description": "'Overdue since ' & %due & ': ' & code.text",
        "basedOn[0].reference": "'ServiceRequest/' & id",
        "focus.reference": "'ServiceRequest/' & id",
        "for": "subject",
        "authoredOn": "%event.recorded",
        "owner": "requester",
        "reasonReference": "reasonReference.first()",
    }
    description = "For whoever sees to it that the patient comes; the orderer's, where one is known."
    return activity(CODE, "A follow-up is overdue", description, values, kind="Task", subject="ServiceRequest")
