"""The house plan's budgets: short functions, short files, no ambient state, no disease in the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("server", "dicom_sr", "ai_adapters", "terminology", "conformance")
#: A broad except may stand at the four edges only, with its reason on the line.
EDGES = ("server/http/", "server/dimse/", "server/mllp/", "server/worker/")
LONGEST_FUNCTION = 40
LONGEST_FILE = 400
BANNED_NAMES = {"utils.py", "util.py", "helpers.py", "helper.py", "common", "common.py", "misc.py"}

SOURCES = sorted(
    path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "migrations" not in path.parts
)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_file_keeps_the_budgets(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert text.count("\n") <= LONGEST_FILE
    assert path.name not in BANNED_NAMES and path.parent.name not in BANNED_NAMES
    for function in _functions(tree):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        assert length <= LONGEST_FUNCTION, f"{function.name} has {length} lines"
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Global), f"line {node.lineno}: global"  # type: ignore[attr-defined]
        if isinstance(node, ast.ExceptHandler) and _is_broad(node):
            line = text.splitlines()[node.lineno - 1]
            assert _name(path).startswith(EDGES), f"line {node.lineno}: a broad except below the edges"
            assert "#" in line, f"line {node.lineno}: a broad except without its reason"
    assert "# TODO" not in text and "# FIXME" not in text


def _is_broad(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or (
        isinstance(handler.type, ast.Name) and handler.type.id in {"Exception", "BaseException"}
    )


def test_no_python_names_a_pathway() -> None:
    """Clinical knowledge is data: a pathway's folder name appears in no Python below the command line."""
    folders = [
        entry.name
        for entry in (ROOT / "fhir_profiles").iterdir()
        if entry.is_dir() and entry.name not in {"base", "imaging", "hl7v2", "__pycache__"}
    ]
    assert folders
    pattern = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in folders))
    named = [
        _name(path)
        for path in SOURCES
        if path.parts[len(ROOT.parts)] in {"server", "dicom_sr", "ai_adapters"}
        and pattern.search(path.read_text(encoding="utf-8"))
    ]
    assert named == []


#: Guidelines, models and diseases, by the words that would name them.
DISEASES = re.compile(
    r"lung-?rads|fleischner|brock\b|pancan|\bmayo\b|herder|recist|\bcancer|carcinoma|tumou?r|malignan|pneumonia"
    r"|embolism|kdigo|osteopor|diabet",
    re.IGNORECASE,
)


def test_no_python_names_a_disease_or_a_guideline() -> None:
    searched = [path for path in SOURCES if path.parts[len(ROOT.parts)] in {"server", "dicom_sr", "ai_adapters"}]
    assert [_name(path) for path in searched if DISEASES.search(path.read_text(encoding="utf-8"))] == []
