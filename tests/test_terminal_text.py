"""Foreign text on its way to a terminal."""

from __future__ import annotations

import ast
import unicodedata
from pathlib import Path

import pytest

from tui_gen.errors import TuiGenError
from tui_gen.terminal_text import LONGEST, SIGN, PieceScrubber, brief, say, scrub, scrub_line, show

ROOT = Path(__file__).parents[1]
DOORS = {
    "src/tui_gen/terminal_text.py": {"print", "sys.stdout", "sys.stderr"},
    "src/tui_gen/child.py": {"print", "sys.__stdout__"},  # what the parent reads
    "src/tui_gen/launcher.py": {"sys.excepthook", "sys.stderr", "sys.stdout"},  # flushed before a process is copied
    "src/tui_gen/bulk/engines.py": {"sys.stdout"},  # a pipe
    "src/tui_gen/cli/bulk.py": {"Console()"},  # a progress bar of our own words
    "src/tui_gen/cli/doctor.py": {"sys.stdout"},  # its encoding
    "src/tui_gen/cli/main.py": {"sys.stdout", "sys.stderr"},  # prepares and abandons them
    "src/tui_gen/cli/learned.py": {"sys.stdout"},  # a picture's bytes
    "src/tui_gen/cli/play.py": {"sys.__stderr__", "sys.__stdout__", "sys.stdout"},  # handed to the screen
    "src/tui_gen/cli/score.py": {"print", "sys.stdout", "sys.stderr"},  # a writer's bytes; our own words in colours
    "src/tui_gen/cli/watch.py": {"sys.stdout"},  # a picture's bytes
    "src/tui_gen/output/writers.py": {"sys.stdout"},  # bytes, which the writers make harmless for a terminal
    "src/tui_gen/text/encoder_process.py": {"sys.stdout"},  # a pipe
    "export/factory/owner.py": {"sys.stderr"},  # the owner's own code prints there
    "export/training/trainer.py": {"Console()"},  # a progress bar of our own words
}
"""What may be named where; elsewhere text goes to a person by `say` and `show`."""
STREAMS = {
    *("print", "input", "breakpoint", "tqdm", "argparse.ArgumentParser()"),
    *("sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__", "sys.displayhook", "sys.excepthook"),
    *("warnings.warn", "warnings.showwarning", "logging.basicConfig", "logging.StreamHandler", "logging.lastResort"),
    *("traceback.print_exc", "traceback.print_exception", "traceback.print_stack", "faulthandler", "rich.print"),
    *("Console()", "pprint"),
}
"""Ways to a stream, as source text names them."""

OBEYED = [*range(0x20), *range(0x7F, 0xA0)]
HIDDEN = [0xAD, 0x61C, 0x180E, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF]
RARE = [*range(0xFFF0, 0xFFFC), *range(0xD800, 0xE000, 64), *range(0xE0000, 0xE1000), *range(0xFE00, 0xFE10)]
FILLERS = [0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x3164, 0xFFA0, *range(0x1BCA0, 0x1BCA4)]
FORMATS = [*range(0x13430, 0x13440), *range(0x1D173, 0x1D17B)]


@pytest.mark.parametrize("codes", [OBEYED, HIDDEN, RARE, FILLERS, FORMATS])
def test_every_dangerous_character_is_replaced_by_one_that_shows(codes: list[int]) -> None:
    for code in codes:
        shown = scrub(f"a{chr(code)}b")
        assert len(shown) == 3
        if chr(code) not in "\n\t":
            assert unicodedata.category(shown[1]) == "So", hex(code)


def test_newline_and_tab_stay() -> None:
    assert scrub("a\n\tb") == "a\n\tb"


def test_control_characters_show_which_they_are() -> None:
    assert scrub("\x1b[31m\x00\x7f\x9b") == "\u241b[31m\u2400\u2421" + SIGN


def test_it_does_not_matter_where_a_chunk_ends() -> None:
    text = "\x1b]0;title\x07\u202eevil\r\n\U000e0041"
    assert "".join(map(scrub, text)) == scrub(text)


def test_nothing_that_unicode_calls_a_format_or_a_separator_is_left_but_signs_before_numbers() -> None:
    categories = {chr(code): unicodedata.category(chr(code)) for code in range(0x110000)}
    left = {sign for sign, kind in categories.items() if kind in ("Cc", "Cf", "Cs", "Zl", "Zp") and scrub(sign) == sign}
    signs = {chr(code) for code in (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD)}
    assert left <= {"\n", "\t"} | signs


@pytest.mark.parametrize(
    "text", ["👩\u200d🚀", "❤\ufe0f", "❤\ufe0f\u200d🔥", "1\ufe0f\u20e3", "🏴\u200d☠\ufe0f", "☎\ufe0e"]
)
def test_an_emoji_sequence_stays_whole(text: str) -> None:
    assert scrub(f"a{text}b") == f"a{text}b"


@pytest.mark.parametrize(
    "text", ["a\u200db", "1\ufe0f", "👩\u200d", "👩\u200da", "\ufe0f👩", "❤\ufe0f\ufe0f", "🏴\U000e0067"]
)
def test_elsewhere_what_joins_emoji_is_shown(text: str) -> None:
    assert SIGN in scrub(text)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_in_pieces_what_joins_emoji_waits_for_what_follows(size: int) -> None:
    text = "👩\u200d🚀❤\ufe0f\u200d🔥1\ufe0f\u20e3 a\u200db👩\u200dc\x1b❤\ufe0f\ufe0f."
    scrubber = PieceScrubber()
    pieces = [scrubber.scrub(text[at : at + size]) for at in range(0, len(text), size)]
    assert "".join(pieces) == scrub(text)


def test_what_people_write_stays_as_it_is() -> None:
    text = "naïve – 漢字 😀 العربية [bold]x[/] café ▀▄█⠿"
    assert scrub(text) == text


def test_a_line_stays_one_line() -> None:
    shown = scrub_line("one\ntwo\r\n\tthree\u2028four\x85five\x0bsix")
    assert len(shown.splitlines()) == 1
    assert "\t" not in shown


def test_whatever_is_told_is_cut_in_the_middle_and_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    fault = str(TuiGenError(f"there is no model {'x' * 10**6!r}; name another"))
    assert fault.startswith("there is no model 'xxx")
    assert fault.endswith("x'; name another")
    say("\x1b[31m\n" * 10**5)
    show("\x1b[31m\n")
    out, err = capsys.readouterr()
    assert out == "\u241b[31m\u240a\n"
    assert err.count("\n") == 1
    assert len(fault) == len(err) - len("tui-gen: \n") == LONGEST
    assert brief("short") == "short"


@pytest.mark.parametrize("folder", ["src/tui_gen", "export"])
def test_nothing_reaches_a_stream_but_by_the_door(folder: str) -> None:
    ways = {str(path.relative_to(ROOT)): _ways(ast.parse(path.read_text(encoding="utf-8"))) for path in _files(folder)}
    assert {path: names for path, names in ways.items() if names - DOORS.get(path, set())} == {}


def _files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def _ways(tree: ast.AST) -> set[str]:
    """The ways to a stream that some code names. A stream may be asked whether it is a terminal."""
    names, nodes = set[str](), [tree]
    while nodes:
        names.add(_dotted(node := nodes.pop()))
        asks = isinstance(node, ast.Attribute) and node.attr == "isatty"
        asks |= isinstance(node, ast.Compare) or _dotted(node) == "shows_colours()"
        nodes += () if asks else ast.iter_child_nodes(node)
    return names & STREAMS


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Call):
        return f"{_dotted(node.func)}()"
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
