"""The pages: built without a dead link, asking no other host, naming what exists; their examples of formats play."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest

from tests.support.browser import Browser, served
from tests.support.command_line import run_main
from tui_gen.card import ModelCard
from tui_gen.cli.main import COMMANDS, EXPORTER_COMMANDS
from tui_gen.tui.bindings import markdown_table

ROOT = Path(__file__).parents[1]


PAGES = sorted(path.relative_to(ROOT).as_posix() for pattern in ("*.md", "docs/**/*.md") for path in ROOT.glob(pattern))
OTHER_PATHS = {"CHANGELOG.md", "BENCHMARKS.md"}
"""Pages whose paths are of the past, or of what a benchmark writes."""


@pytest.mark.parametrize("page", [page for page in PAGES if page not in OTHER_PATHS])
def test_every_module_and_file_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    modules = re.findall(r"`((?:tui_gen|export)(?:\.[a-z_]+)+)`", text)
    files = re.findall(r"`((?:src|docs|tests|export|bench|tui_gen)/[\w./]+)`", text)
    places = [(Path("src") if name.startswith("tui_gen") else Path()) / name.replace(".", "/") for name in modules]
    places += [Path("src", name) if name.startswith("tui_gen/") else Path(name) for name in files]
    missing = [str(p) for p in places if not (ROOT / p).exists() and not (ROOT / p).with_suffix(".py").exists()]
    assert missing == []
    assert page != "docs/architecture.md" or len(set(modules)) > 40


def test_the_keys_of_the_readme_do_what_the_table_says() -> None:
    rows = re.findall(r"^\| (?!key).* \|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 10
    assert set(rows) <= {*markdown_table().splitlines()}


def built(tree: Path, site: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What building the pages of a tree says."""
    words = [sys.executable, str(tree / "docs" / "build.py"), "-o", str(site), *options]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_the_pages_are_built_and_ask_no_other_host(tmp_path: Path) -> None:
    done = built(ROOT, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path: path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html")}
    assert len(pages) > 30
    for path, page in pages.items():
        loaded = re.findall(r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=\"?([^\" >]+)", page)
        assert loaded
        assert [
            address for address in loaded if re.match(r"\w+:|//", address) and not address.startswith("data:")
        ] == []
        assert "is put in here" not in page, path
    commands = pages[tmp_path / "site" / "commands.html"]
    assert all(f"tui-gen {name}" in commands for name in [*COMMANDS, *EXPORTER_COMMANDS])
    assert all(path.name in pages[tmp_path / "site" / "models.html"] for path in (ROOT / "models").iterdir())
    assert len(re.findall("<tr>", pages[tmp_path / "site" / "keys.html"])) == len(markdown_table().splitlines()) - 1


@pytest.mark.parametrize(
    ("page", "words", "complaint"),
    [
        ("play.md", "[there](nowhere.md)", "there is no nowhere.md"),
        ("play.md", "[there](keys.md#nowhere)", "anchor does not exist"),
        ("play.md", "![there](nowhere.svg)", "there is no nowhere.svg"),
        ("lost.md", "a page", "lost.md: stands in the navigation alone, or not in it"),
    ],
)
def test_what_leads_nowhere_is_no_page(page: str, words: str, complaint: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "docs", tree / "docs")
    for name in ("models", *(page for page in PAGES if "/" not in page)):
        (tree / name).symlink_to(ROOT / name)
    (tree / "docs" / page).write_text(f"# Play\n\n{words}\n", encoding="utf-8")
    done = built(tree, tmp_path / "site")
    assert done.returncode
    assert complaint in done.stdout + done.stderr


def test_the_pictures_are_whole_small_and_ask_no_other_host() -> None:
    paths = [*(ROOT / "docs").glob("*.svg")]
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert ElementTree.fromstring(text).tag.endswith("svg")
        assert not re.search(r"url\([\"']?\w+:|href=", text), path
    readme = re.findall(r"!\[.*\]\((.*)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert sum((ROOT / name).stat().st_size for name in readme) < 1_500_000
    assert "@keyframes" in (ROOT / readme[0]).read_text(encoding="utf-8")


def test_the_first_page_plays_a_model_and_nothing_comes_from_another_host(tmp_path: Path, browser: Browser) -> None:
    runtime = Path(sys.prefix) / "node_modules" / "onnxruntime-web"
    if not runtime.is_dir():
        pytest.skip("needs onnxruntime-web: npm install --no-save --prefix .venv onnxruntime-web")
    done = built(ROOT, tmp_path, "--runtime", str(runtime))
    assert done.returncode == 0, done.stderr
    with served(tmp_path / "site") as address:
        browser.open(f"{address}/index.html")
        page = "document.querySelector('iframe')?.contentDocument"
        browser.wait_for(f"{page}?.querySelector('#one')?.disabled && {page}.title.startsWith('adventurers,')")
        for width in (1400, 360):
            browser.picture(tmp_path / "page.png", width, 900)
            assert browser.run(f"{page}.documentElement.scrollHeight <= document.querySelector('iframe').clientHeight")
        assert {urlsplit(one).netloc for one in browser.addresses} <= {urlsplit(address).netloc, ""}


@pytest.mark.parametrize("page", PAGES)
def test_the_addresses_that_a_page_names_have_the_form_of_one(page: str) -> None:
    for address in re.findall(r"\]\((\w+:[^)]*)\)", (ROOT / page).read_text(encoding="utf-8")):
        assert re.fullmatch(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/[^\s<>\"]*)?", address)


def block(page: str, language: str) -> str:
    """The only one of a page in docs/formats."""
    text = (ROOT / "docs" / "formats" / page).read_text(encoding="utf-8")
    [content] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(content)


def write_example(page: str) -> None:
    """Runs the program of a page, in the present folder."""
    exec(compile(block(page, "python"), page, "exec"), {})


def test_the_model_of_the_format_s_page_plays_and_can_be_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_example("model.md")
    assert run_main("generate", "./letters", "a", "-t", "0").stdout == b"abca\n"
    assert b"0.500     0.600" in run_main("learned", "letters").stdout
    assert b"counter.hidden 1" in run_main("look", "letters", "-o", "trace.npz", stdin=b"ab").stderr
    picture = ModelCard.from_json(block("model.md", "json"))
    assert picture.image
    assert (picture.image.area, picture.image.warm_up, picture.image.layers[0].lead) == (24, (6,), 1)


def test_the_session_of_the_format_s_page_replays_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUI_GEN_MODELS", str(tmp_path))
    write_example("model.md")
    write_example("session.md")
    for words, text in (((), "abcabca"), (("--branch", "1"), "abca"), (("--branch", "another letter"), "abab")):
        result = run_main("replay", "session.jsonl", *words)
        assert (result.returncode, result.stdout.decode()) == (0, f"{text}\n")
        assert b"exact" in result.stderr


TUTORIAL = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
PRINTED = re.findall(r"^```sh\n([^`]*)^```\n[^`]*^```text\n([^`]*)^```$", TUTORIAL, re.MULTILINE)


@pytest.mark.parametrize(("commands", "text"), PRINTED, ids=[text[:20] for _, text in PRINTED])
def test_the_commands_of_the_tutorial_print_what_stands_below_them(commands: str, text: str, tmp_path: Path) -> None:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        commands, shell=True, check=True, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PATH": path}
    )
    missing = [line for line in text.splitlines() if line not in f"{done.stdout}{done.stderr}..."]
    assert not missing


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
