"""The tests of HL7's suite: https://github.com/FHIR/fhir-test-cases, r4/fhirpath/tests-fhir-r4.xml"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

#: What a test expects or an engine gives: type name with a small first letter, empty for any, and text.
Item = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Test:
    """One test."""

    group: str
    name: str
    expression: str
    #: File name of the resource, without ending; empty where any will do.
    input: str
    #: Whether the expression has to be refused: syntax, semantic or execution.
    invalid: str
    #: Whether the outcome counts as a condition: anything at all is true.
    predicate: bool
    #: Whether the order of the results matters.
    ordered: bool
    outputs: tuple[Item, ...]


def tests(folder: Path) -> Iterator[Test]:
    """Every test of the suites in a folder."""
    for path in sorted(folder.glob("*.xml")):
        for group in ElementTree.parse(path).getroot().iter("group"):
            for test in group.iter("test"):
                yield _test(group.get("name", ""), test)


def _test(group: str, test: ElementTree.Element) -> Test:
    expression = test.find("expression")
    return Test(
        group=group,
        name=test.get("name", ""),
        expression="" if expression is None else expression.text or "",
        input=Path(test.get("inputfile", "")).stem,
        invalid="" if expression is None else expression.get("invalid", ""),
        predicate=test.get("predicate") == "true",
        ordered=test.get("ordered") != "false",
        outputs=tuple(_output(output) for output in test.findall("output")),
    )


def _output(output: ElementTree.Element) -> Item:
    kind, text = output.get("type", ""), output.text or ""
    # Dates and times are written as literals there.
    return small(kind), text.removeprefix("@T") if text.startswith("@T") else text.removeprefix("@")


def small(kind: str) -> str:
    """A type name as the suite compares it, which has both boolean and Boolean."""
    return kind[:1].lower() + kind[1:]
