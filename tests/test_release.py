"""What a stranger gets: versions that agree, pages without dead links, workflows and forms that call what exists.

That sdist and wheel are the same bytes whenever they are built, and one from the other, `.ci/wheel` tests.
"""

from __future__ import annotations

import os
import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from hatch_build import links, with_address
from tui_gen import __version__
from tui_gen.cli.main import COMMANDS, EXPORTER_COMMANDS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
TARGET = re.compile(r"(!?)\[[^\]]*\]\(([^)#]+)\)")
ADDRESS = "https://forge.example/someone/tui-gen"


def read(pattern: str) -> str:
    """All files of a pattern."""
    paths = sorted(ROOT.glob(pattern))
    assert paths
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def test_citation_and_changelog_are_of_this_version() -> None:
    citation, changelog = read("CITATION.cff"), read("CHANGELOG.md")
    version, date = re.findall(r"^## \[(\d\S*)\] - (\S+)$", changelog, re.MULTILINE)[0]
    assert version == __version__
    assert f"\nversion: {version}\n" in citation
    assert f"\ndate-released: {date}\n" in citation


def test_the_changelog_has_the_form_that_others_read() -> None:
    _, *releases = re.split(r"^## ", read("CHANGELOG.md"), flags=re.MULTILINE)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    for release in releases:
        assert re.match(r"\[(Unreleased\]|\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d)\n", release), release[:40]
        sections = re.findall(r"^### (.*)$", release, re.MULTILINE)
        assert kinds.issuperset(sections), sections
        assert len(sections) == len(set(sections))


def test_without_an_address_a_package_page_has_no_links_that_lead_nowhere() -> None:
    page = with_address(README, "", "v1")
    assert [target for _, target in TARGET.findall(page) if not target.startswith("https://")] == []
    assert "Writing a tour is for those who teach" in page
    assert links("", "v1") == {}


def test_an_address_reaches_pictures_pages_and_the_margin() -> None:
    before, after = TARGET.findall(README), TARGET.findall(with_address(README, ADDRESS, "v1"))
    files = [(image, file) for image, file in before if "://" not in file]
    assert len(files) > 5
    assert [file for _, file in files if not (ROOT / file).exists()] == []
    addresses = [(image, f"{ADDRESS}/{'raw' if image else 'blob'}/v1/{file}") for image, file in files]
    assert addresses == [link for link, original in zip(after, before, strict=True) if original in files]
    assert links(ADDRESS, "v1")["Changelog"] == f"{ADDRESS}/blob/v1/CHANGELOG.md"


def test_the_citation_names_the_address_once_there_is_one() -> None:
    address = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["custom"]["address"]
    assert not address or f"\nrepository-code: {address}\n" in read("CITATION.cff")


def test_what_the_workflows_run_exists() -> None:
    lines = re.findall(r"run: (.*)", read(".github/workflows/*.yml"))
    commands = "\n".join([*lines, read(".ci/*")])
    scripts, modules = re.findall(r"(?<!\S)\.ci/\w+", commands), re.findall(r"python -m (\S+)", commands)
    assert all(os.access(ROOT / script, os.X_OK) for script in scripts)
    assert all((ROOT / script).exists() for script in re.findall(r"python (\S+\.py)", commands))
    assert [module for module in modules if not find_spec(module)] == []
    assert PROJECT["project"]["optional-dependencies"].keys() >= set(re.findall(r"\[(\w+)\]['\"]", commands))
    for command in ("install -c constraints.txt -e '.[test]'", "pytest -n auto"):
        assert command in commands
        assert command in README.replace("install -q", "install")


def test_the_actions_of_others_are_pinned() -> None:
    actions = re.findall(r"uses: (.*)", read(".github/workflows/*.yml"))
    assert [action for action in actions if not re.fullmatch(r"\./\S+|\S+@[0-9a-f]{40} # v[\d.]+", action)] == []


@pytest.mark.parametrize("form", ["fault", "checkpoint"])
def test_a_report_asks_for_what_the_doctor_says(form: str) -> None:
    text = read(f".github/ISSUE_TEMPLATE/{form}.yml")
    words = re.findall(r"`tui-gen (\w+)", text)
    assert "doctor" in words
    assert {*COMMANDS, *EXPORTER_COMMANDS}.issuperset(words)
