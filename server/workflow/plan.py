"""PlanDefinition/$apply, purely: https://hl7.org/fhir/R4/plandefinition-operation-apply.html.

A pathway's PlanDefinition names the topic it answers in ``action.trigger``; ``action.condition`` and
``dynamicValue`` are FHIRPath on the event's focus. Ids follow from the plan, the action and the focus, so that the
same event gives the same resources.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from server.errors import Unprocessable
from server.workflow.activity import kind_of, make
from server.workflow.scope import FOR_EACH, SITUATION, Application, Scope, Sources

Resource = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class TopicEvent:
    """What happened."""

    #: Canonical of the topic.
    topic: str
    focus: Resource
    #: When, as a FHIR instant.
    recorded: str


@dataclass(frozen=True, kw_only=True)
class Pathway:
    """The definitions that belong together, by canonical."""

    plans: Mapping[str, Resource]
    activities: Mapping[str, Resource]
    measures: Mapping[str, Resource] = field(default_factory=dict)

    def plan(self, canonical: str) -> Resource | None:
        """Its PlanDefinition of that canonical."""
        return _of_version(self.plans, canonical)

    def activity(self, canonical: str) -> Resource | None:
        """Its ActivityDefinition of that canonical."""
        return _of_version(self.activities, canonical)

    def measure(self, canonical: str) -> Resource | None:
        """Its Measure of that canonical."""
        return _of_version(self.measures, canonical)

    def answering(self, topic: str) -> Iterator[Resource]:
        """The PlanDefinitions that answer a topic."""
        for plan in self.plans.values():
            if any(_triggered(action, topic) for action in plan.get("action", ())):
                yield plan


def _of_version(definitions: Mapping[str, Resource], canonical: str) -> Resource | None:
    url, _, version = canonical.partition("|")
    found = definitions.get(url)
    return found if found is not None and version in ("", found.get("version", "")) else None


@dataclass(frozen=True, kw_only=True)
class Applied:
    """One action that was applied."""

    action: Resource
    #: What its ActivityDefinition made.
    resource: Resource | None = None
    #: The PlanDefinition that it refers to, and what came of that one's actions.
    plan: Resource | None = None
    inner: tuple["Applied", ...] = ()
    #: The actions below it.
    below: tuple["Applied", ...] = ()

    def resources(self) -> Iterator[Resource]:
        """All that was made, in the order of the actions."""
        if self.resource is not None:
            yield self.resource
        for applied in (*self.inner, *self.below):
            yield from applied.resources()


def apply(plan: Resource, event: TopicEvent, pathway: Pathway, sources: Sources) -> list[Resource]:
    """The resources that a plan's answer to an event consists of, each with its id; empty if no condition holds.

    Expressions know ``%event`` (topic, recorded), ``%created`` (id of an action of the same plan -> reference to what
    it makes) and ``%made`` (what the actions before have made). Ids follow from the plan's variable ``identity``,
    where it states one, else from the focus.
    """
    triggered = [action for action in plan.get("action", ()) if _triggered(action, event.topic)]
    return carry_out(plan, triggered, event, pathway, sources)


def carry_out(
    plan: Resource, actions: Iterable[Resource], event: TopicEvent, pathway: Pathway, sources: Sources
) -> list[Resource]:
    """As ``apply``, of chosen actions of the plan, whatever wakes them."""
    application = Application(artifacts=pathway, sources=sources, focus=event.focus, recorded=event.recorded)
    said: dict[str, Any] = {name: [] for name in SITUATION}
    variables = {"event": {"topic": event.topic, "recorded": event.recorded}, **said}
    applied = realise(plan, actions, application, variables, choose=True)
    return list({f"{one['resourceType']}/{one['id']}": one for made in applied for one in made.resources()}.values())


def realise(
    plan: Resource,
    actions: Iterable[Resource],
    application: Application,
    variables: Mapping[str, Any],
    *,
    choose: bool = False,
) -> tuple[Applied, ...]:
    """The actions of a plan that apply; with ``choose`` the first where only one may, else all that one may choose."""
    scope = _entering(plan, Scope(application=application, plan=plan, variables=variables))
    return tuple(applied for action in actions for applied in _action(action, scope, choose))


def _triggered(action: Resource, topic: str) -> bool:
    return any(
        trigger.get("type") == "named-event" and trigger.get("name") == topic for trigger in action.get("trigger", ())
    )


def _entering(plan: Resource, outer: Scope) -> Scope:
    """The scope of a plan's actions, which know what the other actions of the same plan make."""
    scope = replace(outer, plan=plan).within(plan)
    created = {id: {"reference": reference} for id, reference in _references(scope)}
    return replace(scope, variables={**scope.variables, "created": created})


def _action(action: Resource, outer: Scope, choose: bool) -> Iterator[Applied]:
    for item in outer.below().each(action):
        outer.application.entered()
        scope = item.within(action)
        conditions = [one for one in action.get("condition", ()) if one.get("kind") == "applicability"]
        if all(scope.holds(one.get("expression", {})) for one in conditions):
            yield _applied(action, scope, choose)


def _applied(action: Resource, scope: Scope, choose: bool) -> Applied:
    canonical = action.get("definitionCanonical", "")
    made, plan = None, None
    inner: tuple[Applied, ...] = ()
    if (activity := _activity(canonical, scope)) is not None:
        made = make(activity, action, scope)
        scope.application.made[scope.application.reference(made["resourceType"], made["id"])] = made
    elif canonical and (plan := scope.application.artifacts.plan(canonical)) is not None:
        inner = _chosen(plan.get("action", ()), _entering(plan, scope), choose, one=False)
    elif canonical or "definitionUri" in action:
        named = canonical or action["definitionUri"]
        raise Unprocessable(
            f"There is no PlanDefinition or ActivityDefinition {named[:200]} here.",
            expression="PlanDefinition.action.definition",
        )
    one = action.get("selectionBehavior") in ("exactly-one", "at-most-one")
    below = _chosen(action.get("action", ()), scope, choose, one=one)
    return Applied(action=action, resource=made, plan=plan, inner=inner, below=below)


def _activity(canonical: str, scope: Scope) -> Resource | None:
    """The ActivityDefinition that an action names: one that its plan contains, or by its canonical."""
    if canonical.startswith("#"):
        inside = (one for one in scope.plan.get("contained", ()) if one.get("id") == canonical[1:])
        return next((one for one in inside if one["resourceType"] == "ActivityDefinition"), None)
    return scope.application.artifacts.activity(canonical) if canonical else None


def _chosen(actions: Iterable[Resource], scope: Scope, choose: bool, *, one: bool) -> tuple[Applied, ...]:
    """All actions that apply, or the first where only one may and nobody is there to choose."""
    found: list[Applied] = []
    for action in actions:
        found += _action(action, scope, choose)
        if one and choose and found:
            break
    return tuple(found)


def _references(scope: Scope) -> Iterator[tuple[str, str]]:
    """(action id, reference) for every action of the plan that makes a resource: what it will be, if it is made."""
    for action in _all_actions(scope.plan):
        if "id" not in action:
            continue
        activity = _activity(action.get("definitionCanonical", ""), scope)
        if activity is not None and (kind := kind_of(activity)):
            yield action["id"], scope.application.reference(kind, scope.identity(action))


def _all_actions(holder: Resource) -> Iterator[Resource]:
    for action in holder.get("action", ()):
        if not any(one.get("url") == FOR_EACH for one in action.get("extension", ())):
            yield action
            yield from _all_actions(action)
