"""PlanDefinition/$apply, purely: https://hl7.org/fhir/R4/plandefinition-operation-apply.html.

A pathway's PlanDefinition names the topic it answers in ``action.trigger``; ``action.condition`` and
``dynamicValue`` are FHIRPath on the event's focus. Variables (the standard's ``variable`` extension, in FHIRPath or as
a FHIR query) hold for the action that states them and all below it, through PlanDefinitions that it refers to as well.
Ids follow from the plan, the action and the focus, so that the same event gives the same resources.
"""

import copy
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from server.errors import Unprocessable
from server.fhir import definitions
from server.fhir.fhirpath import compile_expression, plain_value
from server.workflow import element

Resource = dict[str, Any]

#: https://hl7.org/fhir/extensions/StructureDefinition-variable.html
VARIABLE = "http://hl7.org/fhir/StructureDefinition/variable"
QUERY = "application/x-fhir-query"
#: Ours: the contained resource that an ActivityDefinition without a kind fills in.
TEMPLATE = "https://hutong.example/fhir/StructureDefinition/result-template"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:hutong:plan")
_DEEPEST = 16


class Sources(Protocol):
    """Where expressions find what they refer to."""

    def resolve(self, reference: str) -> Resource | None:
        """The resource that a reference means, None if there is none."""

    def search(self, query: str) -> Sequence[Resource]:
        """The resources that ``Type?parameter=value`` finds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TopicEvent:
    """What happened."""

    #: Canonical of the topic.
    topic: str
    focus: Resource
    #: When, as a FHIR instant; the only clock that expressions have, so that a rerun gives the same.
    recorded: str


@dataclass(frozen=True, kw_only=True)
class Pathway:
    """The definitions that belong together, by canonical."""

    plans: Mapping[str, Resource]
    activities: Mapping[str, Resource]

    def answering(self, topic: str) -> Iterator[Resource]:
        """The PlanDefinitions that answer a topic."""
        for plan in self.plans.values():
            if any(_triggered(action, topic) for action in plan.get("action", ())):
                yield plan


@dataclass(frozen=True, kw_only=True)
class _Scope:
    """Where in the application we are."""

    pathway: Pathway
    event: TopicEvent
    sources: Sources
    plan: Resource
    variables: Mapping[str, Any]
    depth: int = 0

    def values(self, expression: str) -> list[Any]:
        """What a FHIRPath expression gives on the event's focus."""
        return compile_expression(expression).values(
            self.event.focus, context=self.variables, resolve=self.sources.resolve, model=definitions.load()
        )

    def holds(self, expression: str) -> bool:
        """Whether a FHIRPath condition holds on the event's focus."""
        return compile_expression(expression).holds(
            self.event.focus, context=self.variables, resolve=self.sources.resolve, model=definitions.load()
        )

    def within(self, stating: Resource) -> "_Scope":
        """This scope with the variables that an element states, each seeing those before it."""
        scope = self
        for extension in stating.get("extension", ()):
            if extension.get("url") == VARIABLE:
                variable = extension["valueExpression"]
                scope = replace(scope, variables={**scope.variables, variable["name"]: scope._variable(variable)})
        return scope

    def entering(self, plan: Resource) -> "_Scope":
        """The scope of a plan's actions, which know what the other actions of the same plan make."""
        scope = replace(self, plan=plan).within(plan)
        created = {id: {"reference": reference} for id, reference in _references(scope)}
        return replace(scope, variables={**scope.variables, "created": created})

    def _variable(self, variable: Resource) -> list[Any]:
        """The items with their types, so that e.g. a date stays one."""
        if variable["language"] == QUERY:
            return list(self.sources.search(self._filled(variable["expression"])))
        return compile_expression(variable["expression"]).evaluate(
            self.event.focus, context=self.variables, resolve=self.sources.resolve, model=definitions.load()
        )

    def _filled(self, query: str) -> str:
        """A FHIR query with its ``{{FHIRPath}}`` parts evaluated."""
        first, *rest = query.split("{{")
        parts = [first]
        for part in rest:
            expression, _, after = part.partition("}}")
            parts += [",".join(str(value) for value in self.values(expression)), after]
        return "".join(parts)


def apply(plan: Resource, event: TopicEvent, pathway: Pathway, sources: Sources) -> list[Resource]:
    """The resources that a plan's answer to an event consists of, each with its id; empty if no condition holds.

    Expressions know ``%event`` (topic, recorded) and ``%created`` (id of an action of the same plan -> reference to
    what it makes). Ids follow from the plan's variable ``identity``, where it states one, else from the focus.
    """
    triggered = [action for action in plan.get("action", ()) if _triggered(action, event.topic)]
    start = {"event": {"topic": event.topic, "recorded": event.recorded}}
    scope = _Scope(pathway=pathway, event=event, sources=sources, plan=plan, variables=start).entering(plan)
    return [resource for action in triggered for resource in _action(action, scope)]


def _triggered(action: Resource, topic: str) -> bool:
    return any(
        trigger.get("type") == "named-event" and trigger.get("name") == topic for trigger in action.get("trigger", ())
    )


def _action(action: Resource, outer: _Scope) -> list[Resource]:
    if outer.depth > _DEEPEST:
        raise Unprocessable("The plan's actions are nested too deeply; does it refer to itself?")
    scope = replace(outer.within(action), depth=outer.depth + 1)
    conditions = [item["expression"]["expression"] for item in action.get("condition", ())]
    if not all(scope.holds(condition) for condition in conditions):
        return []
    made: list[Resource] = []
    canonical = action.get("definitionCanonical", "").partition("|")[0]
    if canonical in scope.pathway.activities:
        made.append(_activity(scope.pathway.activities[canonical], action, scope))
    elif canonical in scope.pathway.plans:
        inner = scope.pathway.plans[canonical]
        below = scope.entering(inner)
        made += [resource for child in inner.get("action", ()) for resource in _action(child, below)]
    elif canonical:
        raise Unprocessable(
            f"The pathway has no definition {canonical}.", expression="PlanDefinition.action.definition"
        )
    return made + _children(action, scope)


def _children(action: Resource, scope: _Scope) -> list[Resource]:
    """All actions below, or the first that applies where only one may."""
    one = action.get("selectionBehavior") in ("exactly-one", "at-most-one")
    made: list[Resource] = []
    for child in action.get("action", ()):
        made += _action(child, scope)
        if one and made:
            break
    return made


def _activity(activity: Resource, action: Resource, scope: _Scope) -> Resource:
    """ActivityDefinition/$apply: https://hl7.org/fhir/R4/activitydefinition-operation-apply.html.

    The request resource of ``kind``; for results that are no requests (R4's kind can't name them) a copy of the
    contained template.
    """
    inner = scope.within(activity)
    focus = scope.event.focus
    resource = _request(activity) if "kind" in activity else copy.deepcopy(_template(activity))
    for dynamic in (*activity.get("dynamicValue", ()), *action.get("dynamicValue", ())):
        element.put(resource, dynamic["path"], inner.values(dynamic["expression"]["expression"]))
    origin = f"{focus['resourceType']}/{focus['id']}/_history/{focus['meta']['versionId']}"
    resource["meta"] = {**resource.get("meta", {}), "source": origin}
    resource["id"] = _identity(scope.plan, action, scope)
    return resource


def _template(activity: Resource) -> Resource:
    """The contained resource that the extension TEMPLATE refers to, without its id."""
    named = [item["valueReference"]["reference"] for item in activity.get("extension", ()) if item["url"] == TEMPLATE]
    for contained in activity.get("contained", ()):
        if f"#{contained['id']}" in named:
            return {name: value for name, value in contained.items() if name != "id"}
    raise Unprocessable(f"{activity['url']} has neither a kind nor a template.", expression="ActivityDefinition.kind")


def _request(activity: Resource) -> Resource:
    """What a request resource takes over from its definition."""
    resource: Resource = {"resourceType": activity["kind"], "status": "draft"}
    resource["intent"] = activity.get("intent", "proposal")
    resource["instantiatesCanonical"] = f"{activity['url']}|{activity['version']}"
    if activity["kind"] in ("CarePlan", "ServiceRequest"):
        resource["instantiatesCanonical"] = [resource["instantiatesCanonical"]]
    if "priority" in activity:
        resource["priority"] = activity["priority"]
    if "code" in activity and activity["kind"] != "CarePlan":
        resource["code"] = activity["code"]
    return resource


def _references(scope: _Scope) -> Iterator[tuple[str, str]]:
    """(action id, reference) for every action of the plan that makes a resource: what it will be, if it is made."""
    for action in _all_actions(scope.plan):
        activity = scope.pathway.activities.get(action.get("definitionCanonical", "").partition("|")[0])
        if activity is not None and "id" in action:
            kind = activity["kind"] if "kind" in activity else _template(activity)["resourceType"]
            yield action["id"], f"{kind}/{_identity(scope.plan, action, scope)}"


def _all_actions(holder: Resource) -> Iterator[Resource]:
    for action in holder.get("action", ()):
        yield action
        yield from _all_actions(action)


def _identity(plan: Resource, action: Resource, scope: _Scope) -> str:
    """The id of what an action makes; action ids are unique within their plan."""
    focus = scope.event.focus
    about = scope.variables.get("identity") or [f"{focus['resourceType']}/{focus['id']}"]
    parts = [plan["url"], action.get("id", action.get("title", "")), str(plain_value(about[0]))]
    if any(item.get("type") == "named-event" for item in action.get("trigger", ())):
        # A triggered action answers each event anew; what is below it stays the same from version to version.
        parts.append(str(focus["meta"]["versionId"]))
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(parts)))
