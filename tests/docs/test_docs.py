"""What is not in the documentation is not there: settings, commands, endpoints, links and translations."""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main
from prometheus_client.metrics import MetricWrapperBase

from server.app.parts import compose
from server.app.web import web
from server.cli.commands import application
from server.fhir.definitions import load
from server.operations.served import served
from server.search.criteria import MODIFIERS
from server.settings import Peer, Settings
from server.telemetry import metrics

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "README.zh.md", *DOCS.rglob("*.md")])
#: Pages that users read in their own language; the reference is one table for both, or English.
TRANSLATED = [
    ROOT / "README.md",
    DOCS / "index.md",
    DOCS / "architecture.md",
    DOCS / "operation.md",
    *sorted(page for page in (DOCS / "quickstart").glob("*.md") if not page.name.endswith(".zh.md")),
]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _rows(page: Path) -> dict[str, list[str]]:
    """First cell -> all cells, of every table row whose first cell is code; of several the first."""
    rows: dict[str, list[str]] = {}
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and cells[0].startswith("`"):
            rows.setdefault(cells[0].strip("`"), cells)
    return rows


def _written(value: Any) -> str:
    if value is None or value in ("", ()):
        return "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_every_setting_is_explained_with_its_default() -> None:
    rows = {name: cells for name, cells in _rows(DOCS / "settings.md").items() if len(cells) == 5}
    defaults = Settings()
    for field in dataclasses.fields(Settings):
        assert field.name in rows, f"docs/settings.md has no row for {field.name}"
        _, environment, default, meaning, chinese = rows[field.name]
        assert environment == f"`HUTONG_{field.name.upper()}`"
        assert default == _written(getattr(defaults, field.name)), field.name
        assert meaning
        assert re.search(r"[\u4e00-\u9fff]", chinese)


def test_no_setting_is_explained_that_does_not_exist() -> None:
    known = {field.name for field in dataclasses.fields(Settings)} | {field.name for field in dataclasses.fields(Peer)}
    assert set(_rows(DOCS / "settings.md")) <= known
    assert {field.name for field in dataclasses.fields(Peer)} <= set(_rows(DOCS / "settings.md"))
    for page in PAGES:
        for name in re.findall(r"HUTONG_([A-Z_]+[A-Z])", page.read_text(encoding="utf-8")):
            assert name.lower() in known | {"config", "extra"}, f"{_name(page)}: HUTONG_{name}"


def _commands() -> Iterator[tuple[str, click.Command]]:
    group = typer.main.get_command(application())
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            for inner, subcommand in command.commands.items():
                yield f"hutong {name} {inner}", subcommand
        else:
            yield f"hutong {name}", command


def _section(command: str) -> str:
    """The part of docs/cli.md about a command: from its heading, or its group's, to the next."""
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    for part in re.split(r"\n(?=## )", text):
        heading = part.splitlines()[0].removeprefix("## ")
        if heading and (command == heading or command.startswith(heading + " ") or heading.startswith(command + " ")):
            return part
    raise AssertionError(f"docs/cli.md has no section for {command}")


def test_every_command_and_option_is_explained() -> None:
    found = dict(_commands())
    assert len(found) >= 10
    for name, command in found.items():
        section = _section(name)
        assert name in section
        for parameter in command.params:
            if isinstance(parameter, click.Argument) or parameter.param_type_name == "argument":
                word = parameter.metavar or parameter.name.upper()  # type: ignore[union-attr]
                assert word.strip("{}[]").upper() in section, f"{name}: {word}"
            else:
                for option in (*parameter.opts, *parameter.secondary_opts):
                    if option != "--help":
                        assert option in section, f"docs/cli.md says nothing of {name} {option}"


def test_no_option_is_explained_that_does_not_exist() -> None:
    known = {option for _, command in _commands() for p in command.params for option in (*p.opts, *p.secondary_opts)}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", (DOCS / "cli.md").read_text(encoding="utf-8")))
    assert named - {"--help"} <= known


def _documented_paths() -> set[str]:
    """Every path that stands in a page about an interface."""
    found: set[str] = set()
    for page in (DOCS / "api").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        found |= {path.rstrip("/.") or "/" for path in re.findall(r"(?<![\w.])/[A-Za-z0-9$_.{}/*-]*", text)}
    return found


def _pattern(path: str) -> re.Pattern[str]:
    """What a page may write for a route: its own parameters' names, or an example; never another route's fixed word."""
    fixed = re.escape(path.rstrip("/") or "/")
    return re.compile(re.sub(r"\\\{[^}]*\\\}", r"(?:\\{[^/}]+\\}|[A-Za-z0-9][^/]*)", fixed))


def test_every_endpoint_is_explained(settings: Settings, database_url: str) -> None:
    parts = compose(dataclasses.replace(settings, database_url=database_url))
    paths = set(web(parts).openapi()["paths"]) | {"/docs", "/openapi.json"}
    parts.database.close()
    assert len(paths) > 20
    documented = _documented_paths()
    missing = sorted(path for path in paths if not any(map(_pattern(path).fullmatch, documented)))
    assert not missing, f"no page in docs/api names {missing}"


def test_every_metric_is_explained() -> None:
    text = (DOCS / "api/health.md").read_text(encoding="utf-8")
    names = {
        name
        for metric in vars(metrics).values()
        if isinstance(metric, MetricWrapperBase)
        for name in (m.name + ("_total" if m.type == "counter" else "") for m in metric.describe())
    }
    assert len(names) >= 5
    for name in names:
        assert f"`{name}`" in text, name


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{_name(page)}: {target}"
        if anchor and there.suffix == ".md":
            assert anchor in _anchors(there), f"{_name(page)}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_code_that_is_named_is_there(page: Path) -> None:
    """A path into the repository that a page names exists."""
    tops = "server|dicom_sr|ai_adapters|fhir_profiles|docker|requirements|conformance|docs|tests|training|benchmarks"
    text = page.read_text(encoding="utf-8")
    for path in re.findall(rf"`((?:{tops})/[\w./-]*[\w/])`", text):
        assert (ROOT / path).exists(), f"{_name(page)}: {path}"


@pytest.mark.parametrize("page", TRANSLATED, ids=_name)
def test_page_has_its_chinese_counterpart(page: Path) -> None:
    chinese = page.with_name(page.name.replace(".md", ".zh.md"))
    assert chinese.exists()
    text = chinese.read_text(encoding="utf-8")
    assert len(re.findall(r"[\u4e00-\u9fff]", text)) > 100
    assert f"]({chinese.name})" in page.read_text(encoding="utf-8")
    assert f"]({page.name})" in text
    assert set(_commands_in(page)) >= set(_commands_in(chinese)), (
        "the translation names commands that the page does not"
    )


def _commands_in(page: Path) -> list[str]:
    return re.findall(r"^\s*(\./run \w+)", page.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_that_are_named_exist(page: Path) -> None:
    known = {name.split()[1] for name, _ in _commands()} | {"test"}
    options = {option for _, command in _commands() for p in command.params for option in (*p.opts, *p.secondary_opts)}
    text = page.read_text(encoding="utf-8")
    for word in re.findall(r"(?:\./run|`hutong|^\s*hutong) ([a-z]+)", text, re.MULTILINE):
        assert word in known, f"{_name(page)}: {word}"
    for line in re.findall(r"\./run (?!test)[^`#\n]*", text):
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", line):
            assert option in options, f"{_name(page)}: {option}"


def test_readme_starts_with_two_commands_that_run_knows() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first = text.split("```sh\n")[1].split("```")[0]
    assert re.findall(r"\./run (\w+)", first) == ["demo", "test"]
    run = (ROOT / "run").read_text(encoding="utf-8")
    assert re.search(r"^\s+test\)$", run, re.MULTILINE)
    assert 'exec .venv/bin/python -m server "$command" "$@"' in run
    assert "hutong demo" in dict(_commands())


def test_manifest_guide_names_every_key() -> None:
    schema = json.loads((ROOT / "ai_adapters/manifest_schema.json").read_text(encoding="utf-8"))
    rows = " ".join(" ".join(cells) for cells in _rows(DOCS / "quickstart/ai-vendor.md").values())
    for key, rule in schema["properties"].items():
        assert f"`{key}`" in rows, key
        for inner in rule.get("properties", {}):
            assert f"`{inner}`" in rows, f"{key}.{inner}"


def test_every_operation_is_explained(settings: Settings, database_url: str) -> None:
    """The table of operations has every one that is served, and none besides."""
    parts = compose(dataclasses.replace(settings, database_url=database_url))
    names = {one.name for one in served(parts.repository, parts.bulk)}
    parts.database.close()
    text = (DOCS / "api/fhir/operations.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `$")]
    assert {name for row in rows for name in re.findall(r"`(\$[a-z-]+)`", row)} == names


def test_every_search_type_has_its_page() -> None:
    """What is supported of each type of parameter, what differs from the standard, and each of its modifiers."""
    kinds = {found.type for kind in load().resource_types for found in load().search_parameters(kind).values()}
    assert len(kinds) == 9
    overview = (DOCS / "api/search.md").read_text(encoding="utf-8")
    for kind in kinds:
        text = (DOCS / "api/fhir/search" / f"{kind}.md").read_text(encoding="utf-8")
        assert f"(fhir/search/{kind}.md)" in overview
        assert "**Differs.**" in text and f"search.html#{kind}" in text
        for modifier in MODIFIERS["position" if kind == "special" else kind] | {"missing"}:
            assert f"`:{modifier}`" in text or f":{modifier}=" in text, f"{kind}.md says nothing of :{modifier}"
