"""Where in the application of a plan we are: what its expressions see, and how they are evaluated.

https://hl7.org/fhir/R4/plandefinition.html#12.18.3.6. Variables are the standard's ``variable`` extension, in FHIRPath
or as a FHIR query; they hold for the element that states them and all below it, through PlanDefinitions that it refers
to as well.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import quote

from server.errors import TooLarge, Unprocessable
from server.fhir import definitions
from server.fhir.fhirpath import Budget, compile_expression, plain_value

Resource = dict[str, Any]

#: https://hl7.org/fhir/extensions/StructureDefinition-variable.html
VARIABLE = "http://hl7.org/fhir/StructureDefinition/variable"
#: Ours: an action that is applied once for each item of a collection, which its variable holds.
FOR_EACH = "https://hutong.example/fhir/StructureDefinition/action-for-each"
#: The variable that ids follow from, in place of the focus.
IDENTITY = "identity"
#: What a caller may say of the situation; expressions see each, empty where it is not said.
SITUATION = ("userType", "userLanguage", "userTaskContext", "setting", "settingContext")
_FHIRPATH = "text/fhirpath"
QUERY = "application/x-fhir-query"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:hutong:plan")
_DEEPEST = 16
#: Of one application.
_MOST_ACTIONS = 10_000
_MOST_QUERIES = 500
_MOST_STEPS = 10_000_000


class Sources(Protocol):
    """Where expressions find what they refer to."""

    def resolve(self, reference: str) -> Resource | None:
        """The resource that a reference means, None if there is none."""

    def search(self, query: str) -> Sequence[Resource]:
        """The resources that ``Type?parameter=value`` finds."""


class Artifacts(Protocol):
    """Where a plan's actions find what they are defined by."""

    def plan(self, canonical: str) -> Resource | None:
        """The PlanDefinition of a canonical, None if there is none."""

    def activity(self, canonical: str) -> Resource | None:
        """The ActivityDefinition of a canonical, None if there is none."""


@dataclass(kw_only=True, eq=False)
class Application:
    """One application of a plan: what stays the same from its first action to its last, and what it has made."""

    artifacts: Artifacts
    sources: Sources
    #: What expressions are evaluated on.
    focus: Resource
    #: FHIR instant; the only clock that expressions have, so that a rerun gives the same.
    recorded: str
    #: Whom requests are for, and where and by whom they are asked for, where that is known.
    subject: Resource | None = None
    encounter: Resource | None = None
    practitioner: Resource | None = None
    #: Whether what is made stays inside of one CarePlan, and is referred to as such.
    contained: bool = False
    #: Reference -> what was made so far.
    made: dict[str, Resource] = field(default_factory=dict)
    budget: Budget = field(default_factory=lambda: Budget(_MOST_STEPS))
    actions: int = 0
    queries: int = 0

    def resolve(self, reference: str) -> Resource | None:
        """What was made here under that reference, or else what is stored."""
        return self.made.get(reference) or self.sources.resolve(reference)

    def search(self, query: str) -> list[Resource]:
        """The resources that a query finds; TooLarge for a plan that asks without end."""
        self.queries += 1
        if self.queries > _MOST_QUERIES:
            raise TooLarge(f"The plan asks more than {_MOST_QUERIES} queries.")
        return list(self.sources.search(query))

    def entered(self) -> None:
        """Counts an action; TooLarge for a plan without end."""
        self.actions += 1
        if self.actions > _MOST_ACTIONS:
            raise TooLarge(f"The plan applies more than {_MOST_ACTIONS} actions.")

    def reference(self, kind: str, id: str) -> str:
        """How others refer to what is made with that id."""
        return f"#{id}" if self.contained else f"{kind}/{id}"


@dataclass(frozen=True, kw_only=True)
class Scope:
    """One place in an application."""

    application: Application
    plan: Resource
    variables: Mapping[str, Any]
    #: Which items the actions above are applied for.
    items: tuple[str, ...] = ()
    depth: int = 0

    def evaluate(self, stated: Resource) -> list[Any]:
        """The items, with their types, that an Expression gives on the focus."""
        text, language = stated.get("expression", ""), stated.get("language", "")
        if not text:
            raise Unprocessable("An expression by reference is not evaluated here; write it out.")
        if language == QUERY:
            return list(self.application.search(self.filled(text)))
        if language != _FHIRPATH:
            raise Unprocessable(f"Expressions are evaluated in {_FHIRPATH}, not in {language[:64]}.")
        return compile_expression(text).evaluate(
            self.application.focus,
            context={**self.variables, "made": list(self.application.made.values())},
            resolve=self.application.resolve,
            model=definitions.load(),
            budget=self.application.budget,
        )

    def values(self, stated: Resource) -> list[Any]:
        """The same as plain JSON."""
        return [plain_value(item) for item in self.evaluate(stated)]

    def holds(self, stated: Resource) -> bool:
        """Whether a condition gives true (or one item that is no boolean); Unprocessable where it gives several."""
        found = self.values(stated)
        if len(found) > 1:
            raise Unprocessable("A condition gives one item at most.", expression=stated.get("expression", ""))
        return bool(found) and found[0] is not False

    def within(self, stating: Resource) -> "Scope":
        """This scope with the variables that an element states, each seeing those before it."""
        scope = self
        for extension in stating.get("extension", ()):
            if extension.get("url") == VARIABLE:
                variable = extension["valueExpression"]
                name, found = _name(variable), scope.evaluate(variable)
                # Who says what an item is by ``identity`` says all of it.
                items = () if name == IDENTITY else scope.items
                scope = replace(scope, variables={**scope.variables, name: found}, items=items)
        return scope

    def below(self) -> "Scope":
        """The scope of what an action holds; Unprocessable where there is no end to it."""
        if self.depth >= _DEEPEST:
            raise Unprocessable("The plan's actions are nested too deeply; does it refer to itself?")
        return replace(self, depth=self.depth + 1)

    def each(self, action: Resource) -> Iterator["Scope"]:
        """The scopes that an action is applied in: one for each item where it is stated for several, else this one."""
        stated = [one["valueExpression"] for one in action.get("extension", ()) if one.get("url") == FOR_EACH]
        if not stated:
            yield self
        for expression in stated[:1]:
            for item in self.evaluate(expression):
                variables = {**self.variables, _name(expression): [item]}
                yield replace(self, variables=variables, items=(*self.items, _naming(plain_value(item))))

    def identity(self, action: Resource) -> str:
        """The id of what an action makes; action ids are unique within their plan."""
        focus = self.application.focus
        about = self.variables.get(IDENTITY) or [f"{focus['resourceType']}/{focus['id']}"]
        parts = [self.plan.get("url", ""), action.get("id", action.get("title", "")), str(plain_value(about[0]))]
        if any(item.get("type") == "named-event" for item in action.get("trigger", ())):
            # A triggered action answers each event anew; what is below it stays the same from version to version.
            parts.append(str(focus["meta"]["versionId"]))
        return str(uuid.uuid5(_NAMESPACE, "\x1f".join([*parts, *self.items])))

    def filled(self, query: str) -> str:
        """A FHIR query with its ``{{FHIRPath}}`` parts evaluated."""
        first, *rest = query.split("{{")
        parts = [first]
        for part in rest:
            expression, _, after = part.partition("}}")
            values = self.values({"language": _FHIRPATH, "expression": expression})
            parts += [",".join(quote(str(value), safe="/:|,") for value in values), after]
        return "".join(parts)


def _name(expression: Resource) -> str:
    name = expression.get("name")
    if not isinstance(name, str):
        raise Unprocessable("A variable has a name.", expression="Expression.name")
    return name


def _naming(item: Any) -> str:
    """What tells an item from the others: a resource's type and id, or the value itself."""
    if isinstance(item, dict) and "resourceType" in item and "id" in item:
        return f"{item['resourceType']}/{item['id']}"
    return str(item)
