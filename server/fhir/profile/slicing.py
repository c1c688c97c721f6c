"""Lists that a profile divides into slices: https://hl7.org/fhir/R4/profiling.html#slicing"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from server.fhir.profile.discriminator import Belongs
from server.fhir.profile.instance import Check, Item, Situation
from server.fhir.profile.rule import Slicing
from server.fhir.validate.problem import Problem, wrong

#: What is wrong with the values of one element, seen from what holds it.
ListCheck = Callable[[Sequence[Item], Situation], list[Problem]]
#: The slice for what is in no other.
DEFAULT = "@default"


class Slice(NamedTuple):
    """One slice, ready to be checked."""

    name: str
    #: Of the element, without slices.
    element: str
    #: Decides whether a value is of the slice; None where the profile gives no way to.
    belongs: Belongs | None
    min: int
    #: None for any number.
    max: int | None
    check: Check | None
    #: What holds for slices within the slice.
    within: ListCheck | None


def sliced(slicing: Slicing, slices: Sequence[Slice], element: str, tail: str) -> ListCheck:
    """The check of a sliced list."""
    told = [each for each in slices if each.belongs is not None and each.name != DEFAULT]
    rest = next((each for each in slices if each.name == DEFAULT), None)
    untold = [each.name for each in slices if each.belongs is None and each.name != DEFAULT]

    def check(items: Sequence[Item], situation: Situation) -> list[Problem]:
        found = [_slice_of(item, told, situation) for item in items]
        problems: list[Problem] = []
        for place, each in enumerate(told):
            own = [item for item, at in zip(items, found, strict=True) if at == place]
            problems += _one(each, own, situation, tail)
        others = [item for item, at in zip(items, found, strict=True) if at < 0]
        if rest is not None:
            problems += _one(rest, others, situation, tail)
        elif slicing.rules == "closed" and not untold:
            for item in others:
                names = ", ".join(each.name for each in told)
                problems += item.at(
                    element, wrong("structure", f"it is in none of the slices {names}; remove it{tail}")
                )
        problems += _order(slicing, items, found, told, element, tail)
        for name in untold if items else ():
            details = f"the profile does not say how slice '{name}' of {element} is told, so it was not checked{tail}"
            problems.append(Problem(code="not-supported", details=details, severity="information"))
        return problems

    return check


def _slice_of(item: Item, told: Sequence[Slice], situation: Situation) -> int:
    for place, each in enumerate(told):
        if each.belongs is not None and each.belongs(item.node, situation):
            return place
    return -1


def _one(each: Slice, own: Sequence[Item], situation: Situation, tail: str) -> list[Problem]:
    problems: list[Problem] = []
    if len(own) < each.min:
        details = f"slice '{each.name}' of {each.element} has {len(own)}; give at least {each.min}{tail}"
        problems += wrong("required", details, each.element)
    if each.max is not None and len(own) > each.max:
        details = f"slice '{each.name}' of {each.element} has {len(own)}; leave at most {each.max}{tail}"
        problems += own[each.max].at(each.element, wrong("structure", details))
    for item in own if each.check is not None else ():
        found = each.check(item.node, situation) if each.check is not None else None
        if found:
            problems += item.at(each.element, found)
    if each.within is not None:
        problems += each.within(own, situation)
    return problems


def _order(
    slicing: Slicing, items: Sequence[Item], found: Sequence[int], told: Sequence[Slice], element: str, tail: str
) -> list[Problem]:
    """Slices in their order where it is kept; what is in none at the end where that is open only."""
    problems: list[Problem] = []
    last, over = -1, False
    for item, place in zip(items, found, strict=True):
        if place < 0:
            over = True
            continue
        if over and slicing.rules == "openAtEnd":
            details = f"what is in no slice stands last; move slice '{told[place].name}' before it{tail}"
            problems += item.at(element, wrong("structure", details))
        elif slicing.ordered and place < last:
            details = f"slice '{told[place].name}' stands before '{told[last].name}'; put them in order{tail}"
            problems += item.at(element, wrong("structure", details))
        last = max(last, place)
    return problems
