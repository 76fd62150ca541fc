"""Imports run one way, and what a person starts loads only what it needs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = {
    "src/tui_gen": "terminal_text < errors < child, launcher, files, json_fields < hub"
    " < training_run < card, checkpoint, lightning < config, sampling < text < images < generation, training_log"
    " < runtime < scoring < library < inspection, page, run_watch < sessions, output < bench < bulk, tui < cli"
    " < __main__",
    "export": "graph < image_network, reader, files, build_tokenizer, quantise, checkpoints"
    " < samples, assumptions, compiler, gaps < images, text < factory, verify, arguments < live < training"
    " < original, folder, read < evaluation, convert < publish, child"
    " < train < __main__ < evaluate, obedience",
    "src/tui_gen/tui": "bindings, clipboard, driver, knob_state, layout, themes < browser, keymap, tour, widgets"
    " < dialogs < model_loader < playground < tour_screen, watch_screen < app",
}
"""A package or module imports only what stands to its left, lazily and for types too."""
HEAVY = ("numpy", "onnxruntime", "tokenizers", "textual", "torch", "PIL")


@cache
def imports(path: Path) -> tuple[str, ...]:
    """The dotted names that a file imports anywhere, also inside functions; relative ones in full."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    package = path.relative_to(ROOT).parent.parts
    package = package[1:] if package[0] == "src" else package
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            parents = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def loaded_after(code: str) -> set[str]:
    """Top-level modules that are loaded in a fresh interpreter after it ran this code."""
    report = "\nimport sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code + report], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def modules(folder: str, *, without: tuple[str, ...] = ()) -> str:
    """Code that imports every module of a folder but for those of some parts."""
    root = ROOT / folder
    paths = (path.relative_to(root.parent).with_suffix("") for path in sorted(root.rglob("*.py")))
    return "\n".join(f"import {'.'.join(path.parts)}" for path in paths if not set(path.parts) & {*without, "__main__"})


@pytest.mark.parametrize("folder", LAYERS)
def test_imports_run_one_way(folder: str) -> None:
    levels = [level.split(", ") for level in LAYERS[folder].split(" < ")]
    rank = {part: at for at, level in enumerate(levels) for part in level}
    root, upwards = ROOT / folder, []
    prefix = folder.removeprefix("src/").split("/")
    for path in sorted(root.rglob("*.py")):
        part = path.relative_to(root).parts[0].removesuffix(".py")
        names = [name.split(".") for name in imports(path) if part != "__init__"]
        others = {words[len(prefix)] for words in names if words[: len(prefix)] == prefix} - {part, "__version__"}
        upwards += [f"{path.relative_to(root)} -> {other}" for other in sorted(others) if rank[other] >= rank[part]]
    assert upwards == []


@pytest.mark.parametrize("folder", ["src/tui_gen", "export"])
def test_no_module_imports_itself_by_way_of_others(folder: str) -> None:
    base = ROOT / folder.removesuffix("tui_gen")
    base = base if base != ROOT / folder else ROOT
    paths = {".".join(path.relative_to(base).with_suffix("").parts): path for path in (ROOT / folder).rglob("*.py")}
    graph = {
        name: {module for other in imports(path) for module in (other, other.rpartition(".")[0]) if module in paths}
        for name, path in paths.items()
        if path.name != "__init__.py"
    }
    TopologicalSorter(graph).prepare()  # raises CycleError that names the circle


@pytest.mark.parametrize(
    ("name", "importers"),
    [
        ("onnxruntime", {"runtime/session.py", "bench/peers.py"}),
        ("torch", {"bench/peers.py", "training_run.py"}),
        ("onnx", set()),
        ("export", set()),
    ],
)
def test_what_people_install_imports_few_things_in_one_place(name: str, importers: set[str]) -> None:
    root = ROOT / "src/tui_gen"
    assert importers == {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if any(other == name or other.startswith(f"{name}.") for other in imports(path))
    }


def test_only_the_screen_loads_textual_and_only_a_benchmark_torch() -> None:
    loaded = loaded_after(modules("src/tui_gen", without=("tui", "lightning")))
    assert {"onnxruntime", "numpy", "tokenizers"} <= loaded
    assert loaded.isdisjoint({"textual", "torch", "export", "onnx"})


def test_the_exporter_never_loads_the_screen() -> None:
    loaded = loaded_after(modules("export"))
    assert "torch" in loaded
    assert "textual" not in loaded


def test_listing_models_needs_the_standard_library_alone() -> None:
    code = "import tui_gen.card, tui_gen.library; from tui_gen.cli.main import main; main(['models'])"
    assert loaded_after(code).isdisjoint(HEAVY)


def test_the_help_of_a_command_loads_nothing_that_only_its_run_needs() -> None:
    code = "from tui_gen.cli.main import COMMANDS, main\nfor name in ['', *COMMANDS]: main([*name.split(), '--help'])"
    assert loaded_after(code).isdisjoint((*HEAVY, "platformdirs"))
    modules = ("export.__main__", "export.train", "export.evaluation.evaluate")
    code = "from contextlib import suppress\n" + "".join(
        f"from {module} import main\nwith suppress(SystemExit): main(['--help'])\n" for module in modules
    )
    assert loaded_after(code).isdisjoint({"torch"})


def test_the_exporter_never_names_itself_for_the_wheel_calls_it_otherwise() -> None:
    for path in (ROOT / "export").rglob("*.py"):
        nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if hasattr(node, "names")]
        modules = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
        modules += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        assert "export" not in {str(module).partition(".")[0] for module in modules}, path
