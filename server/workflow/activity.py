"""ActivityDefinition/$apply, purely: https://hl7.org/fhir/R4/activitydefinition-operation-apply.html.

The request resource of ``kind``, with what the definition says in the elements that such a resource has by the
standard's tables. For results that are no requests (R4's kind can't name them) a copy of the contained template, or of
a resource that is there already, which the plan then changes.
"""

import copy
from collections.abc import Iterator
from typing import Any

from server.errors import Unprocessable
from server.fhir import definitions
from server.fhir.definitions import Property
from server.fhir.fhirpath import plain_value
from server.workflow import element
from server.workflow.scope import Scope

Resource = dict[str, Any]

#: Ours: the contained resource that an ActivityDefinition without a kind fills in, or an expression that gives the
#: resource that it changes.
TEMPLATE = "https://hutong.example/fhir/StructureDefinition/result-template"
#: ActivityDefinition's element -> what requests call it.
_TAKEN = {
    "priority": ("priority",),
    "doNotPerform": ("doNotPerform",),
    "code": ("code", "codeCodeableConcept"),
    "timingTiming": ("occurrenceTiming",),
    "timingDateTime": ("occurrenceDateTime",),
    "timingPeriod": ("occurrencePeriod",),
    "location": ("locationReference", "location"),
    "productReference": ("medicationReference", "itemReference", "codeReference"),
    "productCodeableConcept": ("medicationCodeableConcept", "itemCodeableConcept"),
    "quantity": ("quantityQuantity", "quantity"),
    "dosage": ("dosageInstruction",),
    "bodySite": ("bodySite",),
}
#: What the application knows -> what requests call it.
_KNOWN = {
    "subject": ("subject", "patient", "for"),
    "encounter": ("encounter", "context"),
    "practitioner": ("requester", "orderer", "prescriber", "author"),
    "recorded": ("authoredOn", "created", "dateTime", "dateWritten"),
}
#: The first state of a request, as the kinds call it.
_FIRST = ("draft", "proposed", "entered")


def make(activity: Resource, action: Resource, outer: Scope) -> Resource:
    """What an action's ActivityDefinition describes, with its dynamic values, then the action's."""
    if "transform" in activity or "transform" in action:
        raise Unprocessable(
            "A transform is a StructureMap, and none is carried out here; use dynamicValue.",
            expression="ActivityDefinition.transform",
        )
    scope = outer.within(activity)
    resource = _request(activity, scope) if "kind" in activity else _template(activity, scope)
    for dynamic in (*activity.get("dynamicValue", ()), *action.get("dynamicValue", ())):
        element.put(resource, dynamic["path"], scope.values(dynamic["expression"]))
    resource.setdefault("id", scope.identity(action))
    focus = scope.application.focus
    origin = f"{focus['resourceType']}/{focus['id']}/_history/{focus['meta']['versionId']}"
    resource["meta"] = {**resource.get("meta", {}), "source": origin}
    if scope.application.contained:
        # What is contained has no version or label of its own (dom-4, dom-5).
        del resource["meta"]
    return resource


def kind_of(activity: Resource) -> str:
    """The type of resource that an ActivityDefinition makes; empty where only its application knows."""
    if "kind" in activity:
        return str(activity["kind"])
    stated = next(_stated(activity), {})
    contained = _contained(activity, stated)
    return str(contained["resourceType"]) if contained else ""


def _stated(activity: Resource) -> Iterator[Resource]:
    return (one for one in activity.get("extension", ()) if one.get("url") == TEMPLATE)


def _contained(activity: Resource, stated: Resource) -> Resource | None:
    named = stated.get("valueReference", {}).get("reference", "")
    return next((one for one in activity.get("contained", ()) if named == f"#{one.get('id')}"), None)


def _template(activity: Resource, scope: Scope) -> Resource:
    """The contained resource that TEMPLATE refers to, without its id; or the one that it gives, which keeps its own."""
    stated = next(_stated(activity), {})
    contained = _contained(activity, stated)
    if contained is not None:
        return {name: copy.deepcopy(value) for name, value in contained.items() if name != "id"}
    if "valueExpression" in stated:
        found = [plain_value(item) for item in scope.evaluate(stated["valueExpression"])]
        if len(found) == 1 and isinstance(found[0], dict) and "resourceType" in found[0]:
            return copy.deepcopy(found[0])
    raise Unprocessable(
        f"The ActivityDefinition {activity.get('url', '')} has neither a kind nor a template.",
        expression="ActivityDefinition.kind",
    )


def _request(activity: Resource, scope: Scope) -> Resource:
    """A request resource with what it takes over from its definition, and what the application knows."""
    kind = activity["kind"]
    properties = definitions.load().properties(kind)
    resource: Resource = {"resourceType": kind}
    if "status" in properties:
        resource["status"] = _first_status(properties["status"])
    if "intent" in properties:
        resource["intent"] = activity.get("intent", "proposal")
    if "url" in activity:
        _take(resource, properties, ("instantiatesCanonical",), canonical(activity))
    for name, targets in _TAKEN.items():
        if name in activity:
            _take(resource, properties, targets, activity[name])
    for name, targets in _KNOWN.items():
        if (value := getattr(scope.application, name)) is not None:
            _take(resource, properties, targets, value)
    return resource


def canonical(definition: Resource) -> str:
    """A definition's canonical, with its version where it has one."""
    return "|".join(filter(None, (str(definition["url"]), str(definition.get("version", "")))))


def _first_status(found: Property) -> str:
    listed = definitions.load().codes(found.element.value_set) or {}
    codes = {code for own in listed.values() for code in own}
    return next((code for code in _FIRST if code in codes), _FIRST[0])


def _take(resource: Resource, properties: dict[str, Property], names: tuple[str, ...], value: Any) -> None:
    """Sets the first of several elements that the resource has and that may hold the value."""
    for name in names:
        found = properties.get(name)
        if found is None or not _fits(found, value):
            continue
        many = isinstance(value, list)
        if found.element.many:
            resource[name] = copy.deepcopy(value) if many else [copy.deepcopy(value)]
        else:
            resource[name] = copy.deepcopy(value[0] if many else value)
        return


def _fits(found: Property, value: Any) -> bool:
    """Whether an element may refer to what a reference names; any other value fits."""
    reference = value.get("reference", "") if isinstance(value, dict) else ""
    targets = found.element.targets
    if not reference or not targets or "Resource" in targets:
        return not (isinstance(value, str) and found.type in ("Reference", "CodeableConcept"))
    return reference.partition("/")[0] in targets
