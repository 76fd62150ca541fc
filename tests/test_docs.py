"""The pages for those who carry on name modules that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tui_gen.tui.bindings import markdown_table

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "page",
    [
        "docs/architecture.md",
        "docs/api.md",
        "docs/tours.md",
        "docs/hub.md",
        "docs/browser.md",
        "CONTRIBUTING.md",
        "README.md",
    ],
)
def test_every_module_and_file_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    modules = re.findall(r"`((?:tui_gen|export)(?:\.[a-z_]+)+)`", text)
    files = re.findall(r"`((?:src|docs|tests|export|bench|tui_gen)/[\w./]+)`", text)
    places = [(Path("src") if name.startswith("tui_gen") else Path()) / name.replace(".", "/") for name in modules]
    places += [Path("src", name) if name.startswith("tui_gen/") else Path(name) for name in files]
    missing = [str(p) for p in places if not (ROOT / p).exists() and not (ROOT / p).with_suffix(".py").exists()]
    assert missing == []
    assert page != "docs/architecture.md" or len(set(modules)) > 40


def test_the_readme_lists_the_keys_as_the_table_has_them() -> None:
    assert markdown_table() in (ROOT / "README.md").read_text(encoding="utf-8")


PACKAGES = [path.parent for root in ("src/tui_gen", "export") for path in sorted((ROOT / root).rglob("*/__init__.py"))]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_package_says_what_it_may_import_and_its_public_names_are_there(package: Path) -> None:
    words = (package / "__init__.py").read_text(encoding="utf-8")
    assert "\nMay import: " in words
    modules = re.findall(r"`([a-z_]+)`(?: \(([\w, ]+)\))?", words.partition("Public names: ")[2])
    assert modules
    for module, names in modules:
        source = (package / f"{module}.py").read_text(encoding="utf-8")
        for name in names.split(", ") if names else ():
            assert re.search(rf"^(def |class )?{name}\b", source, re.MULTILINE), (module, name)
