"""What PlanDefinition/$apply answers: a CarePlan whose RequestGroup holds the actions that apply.

https://hl7.org/fhir/R4/plandefinition-operation-apply.html. What is made is contained in the CarePlan, side by side:
contained resources hold no others. A PlanDefinition that an action refers to becomes a RequestGroup of its own.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from server.workflow.activity import canonical
from server.workflow.plan import Applied
from server.workflow.scope import Application

Resource = dict[str, Any]

#: What a RequestGroup's action takes over from the PlanDefinition's.
_SAME = (
    *("prefix", "title", "description", "textEquivalent", "priority", "code", "documentation"),
    *("timingDateTime", "timingAge", "timingPeriod", "timingDuration", "timingRange", "timingTiming"),
    *("type", "groupingBehavior", "selectionBehavior", "requiredBehavior", "precheckBehavior", "cardinalityBehavior"),
)


def care_plan(plan: Resource, applied: Sequence[Applied], application: Application) -> Resource:
    """The CarePlan, in draft, a proposal."""
    groups = _Groups(application)
    main = groups.group(plan, applied)
    goals = [_goal(stated, number, application) for number, stated in enumerate(plan.get("goal", ()), 1)]
    found: Resource = {
        "resourceType": "CarePlan",
        "contained": [*groups.made, *goals],
        **_instantiates(plan),
        "status": "draft",
        "intent": "proposal",
        **{name: plan[name] for name in ("title", "description") if name in plan},
        **_asked(application),
        "created": application.recorded,
    }
    if application.practitioner is not None:
        found["author"] = application.practitioner
    if goals:
        found["goal"] = [{"reference": f"#{goal['id']}"} for goal in goals]
    if main["action"]:
        found["activity"] = [{"reference": {"reference": f"#{main['id']}"}}]
    else:
        # Nothing applies: an empty RequestGroup would say no more.
        found["contained"] = goals
    return {name: value for name, value in found.items() if value != []}


def _instantiates(plan: Resource) -> Resource:
    return {"instantiatesCanonical": [canonical(plan)]} if "url" in plan else {}


def _asked(application: Application) -> Resource:
    asked = {"subject": application.subject, "encounter": application.encounter}
    return {name: value for name, value in asked.items() if value is not None}


class _Groups:
    """RequestGroups, and what their actions refer to."""

    def __init__(self, application: Application) -> None:
        self.made: list[Resource] = []
        self._application = application
        self._count = 0

    def group(self, plan: Resource, applied: Sequence[Applied]) -> Resource:
        """The RequestGroup of one PlanDefinition's actions."""
        self._count += 1
        application = self._application
        author = {} if application.practitioner is None else {"author": application.practitioner}
        group: Resource = {
            "resourceType": "RequestGroup",
            "id": f"actions-{self._count}",
            **_instantiates(plan),
            "status": "draft",
            "intent": "proposal",
            **_asked(application),
            "authoredOn": application.recorded,
            **author,
        }
        self.made.append(group)
        group["action"] = [self._action(one) for one in applied]
        known = set(_ids(group["action"]))
        for action in _all(group["action"]):
            _drop_unknown(action, known)
        return group

    def _action(self, applied: Applied) -> Resource:
        stated = applied.action
        action: Resource = {name: copy.deepcopy(stated[name]) for name in ("id", *_SAME) if name in stated}
        if later := [one for one in stated.get("condition", ()) if one.get("kind") != "applicability"]:
            action["condition"] = copy.deepcopy(later)
        if "relatedAction" in stated:
            action["relatedAction"] = copy.deepcopy(stated["relatedAction"])
        if participants := list(self._participants(stated)):
            action["participant"] = participants
        target = self._target(applied)
        below = [self._action(one) for one in applied.below]
        if below and target:
            # An action has a resource or other actions (rqg-1).
            below.insert(0, {"resource": {"reference": target}})
        if below:
            action["action"] = below
        else:
            action["resource"] = {"reference": target or self._task(stated)}
        return action

    def _target(self, applied: Applied) -> str:
        """The resource that an action is about; empty for one that has none."""
        if applied.resource is not None:
            if applied.resource not in self.made:
                self.made.append(applied.resource)
            return f"#{applied.resource['id']}"
        if applied.plan is not None and applied.inner:
            return f"#{self.group(applied.plan, applied.inner)['id']}"
        return ""

    def _task(self, stated: Resource) -> str:
        """What nothing defines is a Task for a person, in the action's words."""
        self._count += 1
        task: Resource = {
            "resourceType": "Task",
            "id": f"task-{self._count}",
            "status": "draft",
            "intent": "proposal",
            "authoredOn": self._application.recorded,
        }
        if words := stated.get("description") or stated.get("textEquivalent") or stated.get("title"):
            task["description"] = words
        if self._application.subject is not None:
            task["for"] = self._application.subject
        self.made.append(task)
        return f"#{task['id']}"

    def _participants(self, stated: Resource) -> Iterator[Resource]:
        known = {"patient": self._application.subject, "practitioner": self._application.practitioner}
        for participant in stated.get("participant", ()):
            found = known.get(participant.get("type"))
            if found is not None and not found["reference"].startswith("Group/"):
                yield found


def _all(actions: Sequence[Resource]) -> Iterator[Resource]:
    for action in actions:
        yield action
        yield from _all(action.get("action", ()))


def _ids(actions: Sequence[Resource]) -> Iterator[str]:
    return (action["id"] for action in _all(actions) if "id" in action)


def _drop_unknown(action: Resource, known: set[str]) -> None:
    """An action that does not apply can't be before or after another."""
    related = [one for one in action.pop("relatedAction", ()) if one.get("actionId") in known]
    if related:
        action["relatedAction"] = related


def _goal(stated: Resource, number: int, application: Application) -> Resource:
    """A Goal, proposed."""
    goal: Resource = {"resourceType": "Goal", "id": f"goal-{number}", "lifecycleStatus": "proposed"}
    if "category" in stated:
        goal["category"] = [stated["category"]]
    goal |= {name: stated[name] for name in ("priority", "description") if name in stated}
    if application.subject is not None:
        goal["subject"] = application.subject
    if "start" in stated:
        goal["startCodeableConcept"] = stated["start"]
    if "target" in stated:
        goal["target"] = [
            {("dueDuration" if name == "due" else name): value for name, value in target.items()}
            for target in stated["target"]
        ]
    return goal
