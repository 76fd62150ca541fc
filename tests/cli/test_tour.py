"""`tui-gen tour` without its screen: what is wrong with a file, what it says, and where no screen can be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Run
from tui_gen.tui.tour import SHIPPED, Act, read_tour

ROOT = Path(__file__).parents[2]
STOP = '[[stops]]\ntitle = "one"\n'


def test_the_tour_that_ships_has_twelve_stops_and_every_model_it_names(tui_gen: Run) -> None:
    done = tui_gen("tour", "--check")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.endswith(b": 12 stops\n")


def test_what_is_said_can_be_read_without_a_screen(tui_gen: Run) -> None:
    lines = tui_gen("tour", "--plain").stdout.decode().splitlines()
    assert len([line for line in lines if re.match(r"\d+\. ", line)]) == 12
    assert any(line.startswith("Try: ↑ ↓ level") for line in lines)


@pytest.mark.parametrize(
    ("page", "act"),
    [("tours", Act("inside_hold", "h 1 5 1")), ("howto/class", Act("inside_forget", "forget h"))],
)
def test_the_example_of_a_page_is_a_tour(page: str, act: Act, tui_gen: Run, tmp_path: Path) -> None:
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    example = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[0]
    (tmp_path / "mine.toml").write_text(example, encoding="utf-8")
    assert tui_gen("tour", str(tmp_path / "mine.toml"), "--check").returncode == 0
    acts = read_tour(tmp_path / "mine.toml").stops[1].acts
    assert acts[:3] == (Act("generate"), Act("walk", number=3), act)


@pytest.mark.parametrize(("text", "complaint"), [
    ("title = ", "is no TOML: Invalid value"),
    ("a = " + "[" * 50_000, "is no TOML"),
    ("#" * 100_001, "is larger than 100,000 bytes"),
    ("title = 'x'", "a tour has 1 to 99 stops, [[stops]] each, not 0"),
    ("stops = 3", "'stops' must be a list, not 3"),
    ("stops = [3]", "stop 1: must be a section, [[stops]], not 3"),
    (STOP + "[[stops]]\ntext = 'a'", "stop 2: 'title' is missing"),
    (STOP + "sed = 3", "stop 1 (one): 'sed' means nothing; did you mean seed?"),
    (STOP + "seed = -3", "stop 1 (one): 'seed' must be a whole number of at least 0, not -3"),
    (STOP + "samples = true", "stop 1 (one): 'samples' must be a whole number from 1 to 4096, not True"),
    (STOP + "pace = 'fast'", "stop 1 (one): 'pace' must be \"unlimited\" or a number from 1 to 1000000, not 'fast'"),
    (STOP + f"text = '{'a' * 701}'", "stop 1 (one): 'text' has 701 characters; 700 are the most"),
    (STOP + "do = ['generat']", "stop 1 (one): 'do' has 'generat', which is nothing that the screen does; did you mean "
     "generate?"),
    (STOP + "do = ['quit']", "stop 1 (one): 'do' has 'quit', which is nothing that the screen does"),
    (STOP + "do = ['copy']", "stop 1 (one): 'do' has 'copy', which is nothing that the screen does"),
    (STOP + "do = ['walk far']", "stop 1 (one): 'do' has 'walk far'; after walk stands a number from 1 to 999"),
    (STOP + "do = 3", "stop 1 (one): 'do' must be a list, not 3"),
    (STOP + "with = ['a', 'b', 'c']", "stop 1 (one): 'with' has 3 entries; 2 are the most"),
    (STOP + "try = 'press {insid}'", "stop 1 (one): 'try' names an action {insid} that there is not; did you mean "
     "inside"),
    (STOP + "model = 'nope'", "stop 1 (one): 'model': there is no model 'nope'"),
    ("[[stops]]\ntitle = '\\u001b[2Ja'\nseed = -1".replace("'", '"'), "stop 1 (␛[2Ja): 'seed' must be"),
])  # fmt: skip
def test_a_mistake_is_one_line_that_names_file_stop_and_key(
    tui_gen: Run, tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    done = tui_gen("tour", str(path), "--check")
    assert (done.returncode, done.stdout) == (1, b"")
    [line] = done.stderr.decode().splitlines()
    assert line.startswith(f"tui-gen: {path}: {complaint}")


def test_a_model_beside_the_file_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "names").mkdir()
    (tmp_path / "mine.toml").write_text(STOP + "model = 'names'\nwith = ['recipes']")
    [stop] = read_tour(tmp_path / "mine.toml").stops
    assert (stop.model, stop.beside) == (str(tmp_path / "names"), ("recipes",))


def test_a_file_that_is_not_there_and_a_screen_that_cannot_be(tui_gen: Run, tmp_path: Path) -> None:
    done = tui_gen("tour", str(tmp_path / "none.toml"))
    assert (done.returncode, b"none.toml: cannot be read: No such file" in done.stderr) == (1, True)
    done = tui_gen("tour")
    assert done.returncode == 2
    assert b"the screen needs a terminal" in done.stderr
    assert SHIPPED.is_file()
