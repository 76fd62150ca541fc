"""The screen in a browser: it ends with its tab, opens and saves nothing on the server, and has the keys at once."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.conftest import Run
from tests.support.browser import Browser
from tests.support.driver import GUARD_SECONDS
from tests.support.served import DRIVER, ServedScreen
from tests.support.terminal_page import page
from tests.support.widget_app import opened
from tui_gen.checkpoint import Diagnosis, Question
from tui_gen.cli.serve import HOST, is_own
from tui_gen.errors import TuiGenError
from tui_gen.sessions.file import read_session
from tui_gen.tui.browser import complaint_about_name
from tui_gen.tui.dialogs.checkpoint import AnswerInput, CheckpointDialog
from tui_gen.tui.dialogs.given_text import given_text
from tui_gen.tui.dialogs.image_picker import PathSuggester

pytestmark = pytest.mark.skipif(os.name != "posix", reason="reads pipes as POSIX has them")
QUIT, SAVE = "\x1bq", "\x13"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Where the server was started: its owner has files there."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "secret.txt").write_text("the owner's own words\n")
    return folder


@pytest.fixture
def variables(models: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a server, which notes nothing at home."""
    return {"TUI_GEN_MODELS": str(models), **{f"XDG_{name}_HOME": str(tmp_path / name) for name in ("CACHE", "STATE")}}


def test_what_was_made_is_downloaded_and_nothing_is_noted_on_the_server(
    here: Path, variables: dict[str, str], tmp_path: Path, tui_gen: Run
) -> None:
    noted = tmp_path / "STATE/tui-gen"
    noted.mkdir(parents=True)
    (noted / "prompts.jsonl").write_text('{"model": "cats", "text": "a secret prompt"}\n')
    with ServedScreen("cats", "-t", "0", here=here, variables=variables) as screen:
        screen.shows("Writes about cats")
        screen.type("\x1b[1;3A")
        screen.shows("there is no earlier prompt")
        screen.type("the\r")
        screen.shows("the model ended at")
        screen.type(SAVE)
        screen.shows("nothing is saved on the server")
        screen.type("\r")
        text = screen.download("cats-1.txt")
        screen.type(SAVE + "\x1b[B\r")
        (tmp_path / "session.jsonl").write_bytes(screen.download("cats-1.jsonl"))
        screen.type(QUIT)
        screen.until(lambda: screen.facts[-1] == {"type": "exit"})
        assert screen.process.wait() == 0
    done = tui_gen("generate", str(tmp_path / "models/cats"), "the", "-t", "0")
    assert text == done.stdout
    assert read_session(tmp_path / "session.jsonl").records[1].text == "the"
    assert [path.name for path in here.iterdir()] == ["secret.txt"]
    assert [path.name for path in noted.rglob("*") if path.is_file()] == ["prompts.jsonl", "stderr.log"]


@pytest.mark.parametrize("how", ["closed", "closed, and nobody reads", "server gone"])
def test_a_closed_tab_ends_its_process_in_mid_run(how: str, here: Path, variables: dict[str, str]) -> None:
    with ServedScreen("endless", "-l", "1000000", here=here, variables=variables) as screen:
        screen.shows("· CPU")
        screen.type("\r")
        screen.shows(r"token \d")
        screen.type("]" * 12)
        if how == "server gone":
            screen.stdout.close()
            screen.stdin.close()
        else:
            screen.tell("quit")
        if how == "closed":
            with contextlib.suppress(AssertionError):
                screen.until(lambda: False)
        screen.process.wait(GUARD_SECONDS)


def test_files_of_the_server_stay_closed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    assert given_text("secret.txt").text == "the owner's own words\n"
    monkeypatch.setenv("TEXTUAL_DRIVER", DRIVER)
    with pytest.raises(TuiGenError, match="no file of the server is opened"):
        given_text("secret.txt")
    assert given_text("two words").text == "two words"


async def test_no_name_of_a_file_is_suggested_and_no_file_answers_for_a_checkpoint(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    assert await PathSuggester().get_suggestion("sec") == "secret.txt"
    monkeypatch.setenv("TEXTUAL_DRIVER", DRIVER)
    assert await PathSuggester().get_suggestion("sec") is None
    questions = (Question("the vocabulary", "--vocab FILE"), Question("how it begins", "--assume bos=TOKEN"))
    async with opened(lambda: CheckpointDialog("net.pt", Diagnosis("a network", (), (), questions))) as driver:
        await driver.shows("no file of the server is opened")
        assert [line.disabled for line in driver.app.screen.query(AnswerInput)] == [True, False]


def test_only_what_a_header_can_say_names_a_download() -> None:
    assert not any(map(complaint_about_name, ("recipes-1.txt", "a_b.c.PNG", "é-1.gif")))
    assert all(
        map(complaint_about_name, ("../a.txt", "/etc/a.txt", "a b.txt", 'a";b.txt', "~a.txt", ".txt", "a\nb.txt"))
    )


def test_a_page_of_another_host_cannot_reach_the_screen() -> None:
    assert is_own("localhost:8000", "http://localhost:8000")
    assert is_own("127.0.0.1:9000", None)
    assert is_own("[::1]:8000", "http://[::1]:8000")
    assert not is_own("localhost:8000", "http://localhost:8001")
    assert not is_own("localhost:8000", "https://example.org")
    assert not is_own("example.org:8000", "http://example.org:8000")
    assert not is_own("localhost:8000", "null")
    assert not is_own("[", None)


@contextlib.contextmanager
def running(command: list[str], told: bytes, variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A server, once it has told something."""
    pytest.importorskip("textual_serve")
    environment = {**os.environ, **variables, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as process:
        assert process.stdout
        assert any(told in line for line in process.stdout)
        try:
            yield process
        finally:
            process.kill()


def free_port() -> int:
    """One that nothing serves at."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port: int = free.getsockname()[1]
    return port


@contextlib.contextmanager
def serving(*words: str, variables: dict[str, str]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`tui-gen serve`: its address, and its process."""
    address = f"http://{HOST}:{(port := free_port())}"
    command = [sys.executable, "-m", "tui_gen", "serve", "--port", str(port), *words]
    with running(command, f"{address} has the screen".encode(), variables) as process:
        yield address, process


def test_the_server_has_a_page_of_its_own_for_this_machine_alone(variables: dict[str, str], tui_gen: Run) -> None:
    with serving("cats", variables=variables) as (address, _):
        with urllib.request.urlopen(address) as answer:
            text = answer.read().decode()
        assert not re.search(r"https?://", text)
        for header in ({"Host": "example.org"}, {"Origin": "http://example.org"}):
            with pytest.raises(HTTPError, match="403"):
                urllib.request.urlopen(urllib.request.Request(f"{address}/ws", headers=header))
        port = address.rpartition(":")[2]
        taken = tui_gen("serve", "--port", port, "text")
        assert taken.returncode == 1
        assert b"something else serves at port" in taken.stderr
    assert tui_gen("serve", "generate", "text").returncode == 2
    assert tui_gen("serve", "no-such-model").returncode == 2


def screen_below(parent: int) -> int:
    """The process that draws: begun by a shell, which a server has begun."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return screen_below(int(children[-1])) if children else parent


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes as Linux shows them")
def test_a_visit_with_a_browser(
    browser: Browser, variables: dict[str, str], models: Path, tmp_path: Path, tui_gen: Run
) -> None:
    with serving("stripes", "-t", "0.5", variables=variables) as (address, server):
        visit(browser, address)
        assert {address} == {"/".join(asked.split("/")[:3]) for asked in browser.addresses if asked[:4] == "http"}
        os.kill(screen_below(server.pid), signal.SIGKILL)  # as a crash does, of which no process could tell
        browser.wait_for("document.activeElement.id == 'again'")
        browser.received = b""
        browser.press("Enter")
        browser.until(lambda: "Draws stripes" in page(browser.received, (200, 60)))
        end = os.pidfd_open(screen_below(server.pid))
        browser.close_tab()
        assert select.select([end], [], [], GUARD_SECONDS)[0]
        os.close(end)
    (picture,) = (tmp_path / "profile/downloads").iterdir()
    assert picture.name == "stripes-1.png"
    done = tui_gen("generate", str(models / "stripes"), "bright", "-t", "0.55", "--format", "png")
    assert picture.read_bytes() == done.stdout


def visit(browser: Browser, address: str) -> None:
    """Types, turns, draws, downloads."""

    def shows(pattern: str) -> None:
        browser.until(lambda: re.search(pattern, page(browser.received, (200, 60))))

    browser.open(address)
    shows("Draws stripes")
    browser.wait_for("document.activeElement?.className == 'xterm-helper-textarea'")  # without a click
    for letter in "bright":
        browser.press(letter)
    browser.press("ArrowUp")
    shows(r"temperature 0\.55")
    browser.press("Enter")
    shows("complete")
    assert "alt+q quit" in page(browser.received, (200, 60))
    browser.press("ctrl+s")
    shows(r"nothing is saved on the server")
    browser.press("Enter")
    browser.until(lambda: "completed" in browser.downloads)
    browser.press("ctrl+b")  # for ctrl+n, which opens a window
    shows(r"seed +\d{3,}")


def test_textuals_own_server_shows_the_screen(browser: Browser, variables: dict[str, str]) -> None:
    port, command = free_port(), f"'{sys.executable}' -m tui_gen cats"
    code = f"from textual_serve.server import Server; Server({command!r}, port={port}).serve()"
    with running([sys.executable, "-c", code], b"Ctrl+C to quit", variables):
        browser.block("https://*")  # its page takes a font from there
        browser.open(f"http://localhost:{port}")
        browser.until(lambda: "Writes about cats" in page(browser.received, (200, 60)))
        browser.run("document.querySelector('.xterm-helper-textarea').focus()")  # as a click does
        for letter in "the":
            browser.press(letter)
        browser.press("Enter")
        browser.until(lambda: "the model ended at" in page(browser.received, (200, 60)))
