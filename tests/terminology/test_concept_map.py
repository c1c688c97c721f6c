"""Concept maps: forth, back, and what they do not list."""

from typing import Any

from terminology.concept_map import translations

MAP: dict[str, Any] = {
    "group": [
        {
            "source": "urn:a",
            "target": "urn:b",
            "element": [
                {
                    "code": "1",
                    "target": [
                        {"code": "one", "display": "One", "equivalence": "wider"},
                        {"code": "uno", "equivalence": "equal", "dependsOn": [{"property": "language", "value": "it"}]},
                    ],
                }
            ],
            "unmapped": {"mode": "fixed", "code": "other"},
        },
        {"source": "urn:a", "target": "urn:c", "unmapped": {"mode": "provided"}},
    ]
}


def found(code: str, system: str = "urn:a", **more: Any) -> list[tuple[str, str, str]]:
    return [(one.equivalence, one.system, one.code) for one in translations(MAP, system, code, **more)]


def test_forth() -> None:
    assert found("1", target_system="urn:b") == [("wider", "urn:b", "one")]
    italian = found("1", target_system="urn:b", dependencies={"language": "it"})
    assert italian == [("wider", "urn:b", "one"), ("equal", "urn:b", "uno")]
    assert found("1", "urn:z") == []


def test_back() -> None:
    assert found("one", "urn:b", reverse=True) == [("narrower", "urn:a", "1")]
    assert found("1", "urn:b", reverse=True) == []


def test_unmapped() -> None:
    assert found("2") == [("inexact", "urn:b", "other"), ("equal", "urn:c", "2")]
