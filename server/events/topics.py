"""Subscription topics: https://hl7.org/fhir/R5/subscriptiontopic.html, matched purely on two versions of a resource.

Topics are data under ``fhir_profiles``. A trigger's ``queryCriteria`` are search strings, matched in memory by the
same code that search uses; ``fhirPathCriteria`` sees ``%current`` and ``%previous``.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any
from urllib.parse import parse_qsl

from server.errors import BadRequest, Unprocessable
from server.fhir import definitions
from server.fhir.definitions import Definitions
from server.fhir.fhirpath import compile_expression
from server.search.codes import Codes
from server.search.read import read as read_query

Resource = dict[str, Any]
#: https://hl7.org/fhir/R4/search.html#prefix
_PREFIXES = frozenset({"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"})
#: Canonicals of the standard's search parameters, as its topics and those of the guide write them.
_STANDARD = re.compile(r"http://hl7\.org/fhir/(?:build/)?SearchParameter/")
#: (resource, search parameters) -> whether a search with them would find it.
Matches = Callable[[Resource, Sequence[tuple[str, str]]], bool]
#: (resource, resource type) -> resources of the type that it refers to.
Related = Callable[[Resource, str], Iterable[Resource]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trigger:
    """One resourceTrigger: when a change of a resource type is an event of the topic."""

    resource: str
    interactions: frozenset[str]
    previous: tuple[tuple[str, str], ...] | None = None
    current: tuple[tuple[str, str], ...] | None = None
    #: Whether ``previous`` holds for a create, which has no version before.
    passes_on_create: bool = True
    #: Whether ``current`` holds for a delete, which has no version after.
    passes_on_delete: bool = False
    require_both: bool = True
    expression: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterParameter:
    """One canFilterBy: what a subscription may filter the topic's events by."""

    resource: str
    name: str
    #: The search parameter behind the name.
    code: str
    #: Modifiers and prefixes that may be used; empty for all that search has.
    modifiers: frozenset[str] = frozenset()
    #: Whether a SearchParameter resource declares it, which need not be here yet.
    declared: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """One notificationShape: what goes along with the focus."""

    resource: str
    #: _include and _revinclude parameters.
    includes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Topic:
    """One SubscriptionTopic."""

    url: str
    title: str
    triggers: tuple[Trigger, ...]
    filters: tuple[FilterParameter, ...]
    shapes: tuple[Shape, ...] = ()

    def shape(self, resource_type: str) -> tuple[tuple[str, str], ...]:
        """The includes that go along with a focus of a type."""
        return tuple(one for shape in self.shapes if shape.resource == resource_type for one in shape.includes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """One query of a subscription: ``Type?name=value&...`` with names resolved to search parameters."""

    resource: str
    parameters: tuple[tuple[str, str], ...]


def load(folder: str = "imaging") -> tuple[Topic, ...]:
    """The topics in one folder of ``fhir_profiles``, sorted by URL."""
    return tuple(read(resource) for resource in sources(folder))


def sources(folder: str = "imaging") -> list[Resource]:
    """The SubscriptionTopic resources in one folder of ``fhir_profiles``, sorted by URL."""
    found = resources.files("fhir_profiles").joinpath(folder).iterdir()
    texts = [file.read_text(encoding="utf-8") for file in found if file.name.startswith("SubscriptionTopic-")]
    return sorted((json.loads(text) for text in texts), key=lambda resource: str(resource["url"]))


def read(resource: Resource) -> Topic:
    """The Topic in a SubscriptionTopic resource."""
    return Topic(
        url=resource["url"],
        title=str(resource.get("title", resource["url"])),
        triggers=tuple(_trigger(trigger) for trigger in resource.get("resourceTrigger", ())),
        filters=tuple(_filter_parameter(item) for item in resource.get("canFilterBy", ())),
        shapes=tuple(_shape(item) for item in resource.get("notificationShape", ())),
    )


def match(before: Resource | None, after: Resource | None, topics: Iterable[Topic], matches: Matches) -> list[Topic]:
    """The topics that a change from ``before`` to ``after`` is an event of; None stands for absent or deleted."""
    return [topic for topic in topics if any(_fires(trigger, before, after, matches) for trigger in topic.triggers)]


def interaction(before: Resource | None, after: Resource | None) -> str:
    """The REST interaction that a change was: create, update or delete."""
    if after is None:
        return "delete"
    return "create" if before is None else "update"


def parse_filter(text: str, topic: Topic, known: Definitions | None = None) -> Filter:
    """See ``read_filter``; one that can't be asked by ``known`` (without it the standard's parameters) is refused."""
    found = read_filter(text, topic)
    try:
        read_query(known or definitions.load(), found.resource, found.parameters, terminology=_Unasked())
    except BadRequest as error:
        raise _refused(error.details) from error
    return found


def read_filter(text: str, topic: Topic) -> Filter:
    """A backport-filter-criteria string; raises Unprocessable naming what the topic can be filtered by.

    ``Type?name=value&...``, or as the guide writes it ``Type.name=value``; without a type it is the first trigger's.
    Whether there are such search parameters, and such values of them, is not looked at.
    """
    resource, query = _type_and_query(text, topic)
    known = {item.name: item for item in topic.filters if item.resource == resource}
    pairs = parse_qsl(query, keep_blank_values=True)
    for name, value in pairs:
        base, _, modifier = name.partition(":")
        if base not in known or not value:
            raise _refused(_no_filter(topic, resource, name))
        _check_modifier(known[base], modifier, value)
    if not pairs:
        raise _refused("A filter is written Type?parameter=value.")
    return Filter(resource=resource, parameters=tuple((_code(name, known), value) for name, value in pairs))


def _no_filter(topic: Topic, resource: str, name: str) -> str:
    why = ""
    if name.startswith("_has:") or "." in name:
        why = (
            " Chains and _has are no filters: an event is judged by what was written, not by what other resources "
            "say. Filter by the topic's own, and ask for the rest when the event has come."
        )
    listed = ", ".join(f"{item.resource}?{item.name}" for item in topic.filters)
    return f"The topic {topic.url} has no filter '{resource}?{name}'; it has {listed or 'none'}.{why}"


def _type_and_query(text: str, topic: Topic) -> tuple[str, str]:
    resource, mark, query = text.partition("?")
    if mark:
        return resource, query
    resource, dot, query = text.partition(".")
    if dot and resource.isalpha() and resource[:1].isupper():
        return resource, query
    return topic.triggers[0].resource, text


def _check_modifier(item: FilterParameter, modifier: str, value: str) -> None:
    """Refuses a modifier or prefix that the topic does not list, where it lists any."""
    prefix = value[:2] if value[:2] in _PREFIXES and value[2:3].isdigit() else ""
    used = {one for one in (modifier, prefix) if one}
    if item.modifiers and not used <= item.modifiers | {"eq"}:
        raise _refused(
            f"The topic's filter '{item.resource}?{item.name}' takes "
            f"{', '.join(sorted(item.modifiers))}, not {', '.join(sorted(used))}."
        )


def _refused(details: str) -> Unprocessable:
    return Unprocessable(details, expression="Subscription.criteria.extension")


class _Unasked:
    """A terminology that knows every value set: what there is shows when a filter is asked."""

    def members(self, value_set: str) -> Codes | None:  # noqa: ARG002
        """No code at all."""
        return Codes()

    def related(self, system: str, code: str, *, above: bool) -> Codes | None:  # noqa: ARG002
        """The code itself."""
        return Codes({system: frozenset({code})})


def passes(resource: Resource, filters: Iterable[Filter], matches: Matches, related: Related) -> bool:
    """Whether an event's focus passes all filters; one on another type holds if a resource referred to passes it."""
    return all(
        any(
            matches(candidate, item.parameters)
            for candidate in (
                [resource] if resource["resourceType"] == item.resource else related(resource, item.resource)
            )
        )
        for item in filters
    )


def _code(name: str, known: dict[str, FilterParameter]) -> str:
    base, colon, modifier = name.partition(":")
    return known[base].code + colon + modifier


def _trigger(trigger: dict[str, Any]) -> Trigger:
    criteria = trigger.get("queryCriteria", {})
    return Trigger(
        resource=trigger["resource"].rpartition("/")[2],
        interactions=frozenset(trigger.get("supportedInteraction", ("create", "update", "delete"))),
        previous=_query(criteria.get("previous")),
        current=_query(criteria.get("current")),
        passes_on_create=criteria.get("resultForCreate", "test-passes") == "test-passes",
        passes_on_delete=criteria.get("resultForDelete", "test-fails") == "test-passes",
        require_both=criteria.get("requireBoth", True),
        expression=trigger.get("fhirPathCriteria", ""),
    )


def _query(text: str | None) -> tuple[tuple[str, str], ...] | None:
    return None if text is None else tuple(parse_qsl(text, keep_blank_values=True))


def _filter_parameter(item: dict[str, Any]) -> FilterParameter:
    # Resource-level parameters (_tag, _security, ...) have canonicals that end in their name without the underscore.
    defined, name = item.get("filterDefinition", ""), item["filterParameter"]
    # Of a parameter that is not the standard's the name is its code.
    declared = bool(defined) and not _STANDARD.match(defined)
    canonical = "" if declared else defined.rpartition("/")[2]
    base, _, code = canonical.partition("-")
    resolved = name if not canonical else f"_{code}" if base == "Resource" else code
    modifiers = frozenset((*item.get("modifier", ()), *item.get("comparator", ())))
    # R4B names the type, R5 its definition.
    resource = item["resource"].rpartition("/")[2]
    return FilterParameter(resource=resource, name=name, code=resolved, modifiers=modifiers, declared=declared)


def _shape(item: dict[str, Any]) -> Shape:
    includes = [("_include", text) for text in item.get("include", ())]
    includes += [("_revinclude", text) for text in item.get("revInclude", ())]
    # The guide's topics write further includes behind an ampersand, as in a URL.
    parted = [(name, part) for name, text in includes for part in text.split("&")]
    return Shape(
        resource=item["resource"].rpartition("/")[2],
        includes=tuple(_include(name, part) for name, part in parted),
    )


def _include(name: str, text: str) -> tuple[str, str]:
    """An include as a parameter: ``Type:code``, or with its own name before it (``iterate=Type:code``)."""
    modifier, equals, rest = text.partition("=")
    if not equals:
        return name, text
    return f"{name}:iterate" if modifier.endswith("iterate") else name, rest.replace(".", ":")


def _fires(trigger: Trigger, before: Resource | None, after: Resource | None, matches: Matches) -> bool:
    focus = after if after is not None else before
    if focus is None or focus["resourceType"] != trigger.resource:
        return False
    if interaction(before, after) not in trigger.interactions:
        return False
    tests = []
    if trigger.previous is not None:
        tests.append(trigger.passes_on_create if before is None else matches(before, trigger.previous))
    if trigger.current is not None:
        tests.append(trigger.passes_on_delete if after is None else matches(after, trigger.current))
    if tests and not (all(tests) if trigger.require_both else any(tests)):
        return False
    return not trigger.expression or _holds(trigger.expression, before, after)


def _holds(expression: str, before: Resource | None, after: Resource | None) -> bool:
    focus = after if after is not None else before
    versions = {"current": after if after is not None else [], "previous": before if before is not None else []}
    return focus is not None and compile_expression(expression).holds(focus, context=versions, model=definitions.load())
