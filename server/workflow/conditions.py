"""Conditions of the settings on the attributes of an instance, with the meaning that they have in QIDO-RS."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword

from server.errors import BadRequest
from server.imaging import attributes as read
from server.imaging import criterion
from server.imaging.dataset import Attributes

#: Attributes that only queries answer with; no instance has them.
_NEVER = ("ModalitiesInStudy", "SOPClassesInStudy", "NumberOf")
Test = Callable[[Attributes], bool]


def tests(wanted: Mapping[str, Any], *, setting: str, rule: str) -> tuple[Test, ...]:
    """A test for each attribute; raises BadRequest that names the rule's mistake."""
    return tuple(_test(f"The rule '{rule}'", setting, name, value) for name, value in wanted.items())


def _test(rule: str, setting: str, name: str, value: Any) -> Test:
    """A condition on one attribute; several values are alternatives, none asks for any value."""
    path = [_tag(rule, setting, step) for step in name.split(".")]
    number = int(path[-1], 16)
    vr = dictionary_VR(number).split(" ")[0] if dictionary_has_tag(number) else "LO"
    if vr not in criterion.SEARCHABLE:
        raise BadRequest(f"{rule}: {name} can't be matched: it is {vr}.", expression=setting)
    texts = [str(one) for one in (value if isinstance(value, list | tuple) else [value])]
    parsed = [criterion.parse(vr, text, f"{rule}: {name}") for text in texts]
    asked = [one for one in parsed if one is not None]

    def test(attributes: Attributes) -> bool:
        found = list(_elements(attributes, path))
        if not asked:
            return bool(found)
        return any(criterion.matches(one, vr, values) for one in asked for values in found)

    return test


def _elements(attributes: Attributes, path: Sequence[str]) -> Iterator[list[Any]]:
    """The values of every element at the path, through all items of the sequences on it."""
    tag, *rest = path
    if not rest:
        if values := read.values(attributes, tag):
            yield values
        return
    for item in read.items(attributes, tag):
        yield from _elements(item, rest)


def _tag(rule: str, setting: str, name: str) -> str:
    if name.startswith(_NEVER):
        raise BadRequest(
            f"{rule}: {name} is an answer to queries; match an attribute of instances, e.g. Modality.",
            expression=setting,
        )
    if len(name) == 8 and all(digit in "0123456789abcdefABCDEF" for digit in name):
        return name.upper()
    number = tag_for_keyword(name)
    if number is None:
        raise BadRequest(
            f"{rule}: '{name}' is no attribute; give a keyword or tag of the data dictionary.", expression=setting
        )
    return f"{number:08X}"
