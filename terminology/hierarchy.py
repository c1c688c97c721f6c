"""What stands above what, by places: https://hl7.org/fhir/R4/codesystem.html#hierarchy"""

from array import array
from collections.abc import Sequence

from terminology.concept import Concept

#: Longest way upwards; what is longer is taken for a circle.
_DEEPEST = 500


def places(concepts: Sequence[Concept]) -> list[list[int]]:
    """For each concept the places of its parents."""
    numbers = {concept.code: place for place, concept in enumerate(concepts)}
    return [[numbers[parent] for parent in concept.parents if parent in numbers] for concept in concepts]


def ancestors(parents: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """For each place all places above it, sorted; circles end."""
    found: list[Sequence[int] | None] = [None] * len(parents)
    for start in range(len(parents)):
        waiting = [start]
        while waiting:
            place = waiting[-1]
            missing = [over for over in parents[place] if found[over] is None] if found[place] is None else []
            if missing and len(waiting) <= _DEEPEST:
                waiting.extend(missing)
                continue
            waiting.pop()
            if found[place] is None:
                found[place] = _above(parents, found, place)
    return [one if one is not None else () for one in found]


def _above(parents: Sequence[Sequence[int]], found: Sequence[Sequence[int] | None], place: int) -> Sequence[int]:
    """From the parents' own where they are known; step by step where a circle leaves them open."""
    above: set[int] = set()
    waiting = list(parents[place])
    while waiting:
        over = waiting.pop()
        if over in above:
            continue
        above.add(over)
        known = found[over]
        if known is None:
            waiting.extend(parents[over])
        else:
            above.update(known)
    return array("i", sorted(above))
