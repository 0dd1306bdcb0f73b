"""The shape of the house: who may import whom, where names live, how long things may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from acestep.checkpoints.registry import MODELS
from acestep.cogrun.schema import PROJECT
from acestep.tasks import TASKS

PACKAGE = PROJECT / "acestep"
SOURCES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 320, 80
# Layers from the ground up; a module imports only from its own layer and those below it.
LAYERS = (
    ("constants", "errors"),
    ("naming",),
    (
        "tasks",
        "params",
        "fields",
        "judge",
        "metadata",
        "lyrics",
        "seeds",
        "checkpoints.registry",
        "checkpoints.registry_v1",
        "checkpoints.rows",
    ),
    ("linting", "dice", "places"),
    (
        "models",
        "sampling",
        "audio",
        "editing",
        "output",
        "planner",
        "devices",
        "machine",
        "memory",
        "conditioning",
        "checkpoints",
        "net",
        "scoring",
        "v1",
    ),
    (
        "clauses",
        "request",
        "remarks",
        "reading",
        "pieces",
        "prepare",
        "denoise",
        "flow",
        "meters",
        "progress",
        "playing",
        "render",
        "takes",
        "painting",
        "studio",
        "recordings",
        "finish",
        "shelf",
        "v1.reader",
        "v1.player",
        "v1.painting",
        "v1.stage",
    ),
    ("engines", "handler", "llm_inference", "planning", "result", "save", "scoring.score"),
    (
        "inference",
        "outcome",
        "exploring",
        "regenerate",
        "remaking",
        "sheet",
        "stitching",
        "strangers",
        "words",
        "cog_words",
        "cog_output",
        "cog_door",
        "cli",
        "commands",
        "download_cli",
        "models_cli",
        "terminal",
        "__main__",
    ),
    ("cogrun", "server", "training"),
)


def module(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def layer(name: str) -> int:
    """The lowest layer that lists the module or the folder it is in; the most exact entry wins."""
    for level, names in enumerate(LAYERS):
        if name in names:
            return level
    folder = name.rpartition(".")[0]
    assert folder or name == "", f"{name} has no layer"
    return layer(folder) if folder else 0


def imported(path: Path) -> Iterator[str]:
    """Modules of this package that a file imports, however deep inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("acestep."):
            yield node.module.removeprefix("acestep.")
        elif isinstance(node, ast.Import):
            yield from (
                alias.name.removeprefix("acestep.") for alias in node.names if alias.name.startswith("acestep.")
            )


@pytest.mark.parametrize("path", SOURCES, ids=module)
def test_imports_point_downwards(path: Path) -> None:
    name = module(path)
    if name in {"", "__main__"}:
        return
    for target in imported(path):
        assert layer(target) <= layer(name), f"{name} imports {target}"


@pytest.mark.parametrize("path", [path for path in SOURCES if "training" not in path.parts], ids=module)
def test_what_plays_never_imports_what_trains(path: Path) -> None:
    assert not any(target.startswith("training") for target in imported(path))


@pytest.mark.parametrize("path", SOURCES, ids=module)
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name


def string_literals(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    documented = [
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documented:
            yield node.value


@pytest.mark.parametrize("path", [path for path in SOURCES if module(path) not in {"tasks"}], ids=module)
def test_only_the_task_table_names_tasks(path: Path) -> None:
    assert not set(string_literals(path)) & (set(TASKS) - {"edit"})


@pytest.mark.parametrize("path", [path for path in SOURCES if "checkpoints.registry" not in module(path)], ids=module)
def test_only_the_registry_names_models(path: Path) -> None:
    assert not set(string_literals(path)) & set(MODELS)


@pytest.mark.parametrize("path", [path for path in SOURCES if module(path) != "constants"], ids=module)
def test_rates_have_one_home(path: Path) -> None:
    numbers = {
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and type(node.value) is int
    }
    assert not numbers & {48_000, 1920, 15_000}


@pytest.mark.parametrize("path", [path for path in SOURCES if path.parent.name == "models"], ids=module)
def test_networks_know_only_tensors(path: Path) -> None:
    allowed = {"constants", "errors"}
    assert all(target in allowed or target.startswith("models") for target in imported(path))
