"""The command line as a whole: help, failures in one line, the process that it is, and other packages' commands.

Four tests start the program, for only a process of its own has an encoding, signals and a stdout that is closed; three
more look at one, for a player of local models phones nobody and leaves nothing behind.
"""

from __future__ import annotations

import inspect
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.conftest import Run
from tests.support import hostile, toys
from tests.support.command_line import LeftPager
from tui_gen import __version__
from tui_gen.cli.main import main
from tui_gen.runtime.cuda import missing_driver

without_cuda = pytest.mark.skipif(not missing_driver(), reason="this machine has an NVIDIA driver")
with_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
GROUP = "tui_gen.commands"
PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
POINTS = [EntryPoint(name, value, GROUP) for name, value in PROJECT["entry-points"][GROUP].items()]

TELEMETRY = """
import json, os, sys, threading
events, variable = [], []
def hook(event, arguments):
    if event.startswith("socket."):
        events.append(event)
    if event == "import" and arguments[0] == "onnxruntime":
        variable.append(os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.addaudithook(hook)
from tui_gen.cli.main import main
status = main(["generate", sys.argv[1], "the", "--threads", "1", "-o", os.devnull])
paths = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
links = [os.readlink(path) for path in paths if os.path.islink(path)]
print(json.dumps({
    "status": status, "events": events, "variable": variable[:1],
    "threads": len(os.listdir("/proc/self/task")) - threading.active_count(),
    "sockets": [link for link in links if link.startswith("socket:")],
}))
"""
"""Reports what a run does. onnxruntime's telemetry is native code, which Python's audit hooks do not see; so the
process itself is looked at: with telemetry on, it has a thread that Python does not know, and leaves two files more."""

Program = Callable[..., dict[str, Any]]
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def complaint(tui_gen: Run) -> Callable[..., tuple[int, str]]:
    """Runs a command that must fail; returns its status and its one line."""

    def run(*words: str) -> tuple[int, str]:
        done = tui_gen(*words)
        assert done.stdout == b""
        [line] = done.stderr.decode().splitlines()
        assert line.startswith("tui-gen")
        return done.returncode, line

    return run


def test_help_and_version_go_to_stdout(tui_gen: Run) -> None:
    for words in (["--version"], ["generate", "--version"], ["-v", "--version"]):
        assert tui_gen(*words).stdout.decode() == f"tui-gen {__version__}\n"
    for command in ("", "generate", "replay", "score", "models", "inspect", "learned", "bench", "config", "doctor"):
        done = tui_gen(*command.split(), "--help")
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.startswith(f"usage: tui-gen {command}".rstrip().encode())


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        ("generate", 2, "required: MODEL"),
        ("generate text two prompts", 2, "unrecognized arguments: prompts"),
        ("--nonsense", 2, "unrecognized arguments: --nonsense"),
        ("text", 2, "without one, use `tui-gen generate`"),
        ("", 2, "without one, use `tui-gen generate`"),
        ("-n 2 text --seed 1", 2, "without one, use `tui-gen generate`"),
        ("genrate text -n 2 --sweep top-k", 2, "'genrate' is no command, no model and no path; did you mean generate?"),
        ("-n 2 letter", 2, "'letter' is no command, no model and no path; did you mean letters?"),
        ("xyzzy", 2, "tui-gen models lists the models, tui-gen --help the commands"),
        ("-n 2 generate text", 2, "generate is a command, and the options of a command stand after it"),
        (
            "generate tetx",
            1,
            "there is no model 'tetx', by name or as a folder; did you mean text? installed: endless, ",
        ),
        ("generate text -o /no/such/folder/file", 1, "/no/such/folder/file cannot be written: No such file"),
        ("generate text -o /", 1, "/ cannot be written: Is a directory"),
        pytest.param("generate text -o /dev/full", 1, "/dev/full cannot be written: No space", marks=with_full_device),
        pytest.param(
            "generate text --provider cuda", 1, "CUDA cannot be used: no NVIDIA driver found", marks=without_cuda
        ),
    ],
)
def test_wrong_usage_is_status_2_and_a_failure_1(
    words: str, status: int, reason: str, complaint: Callable[..., tuple[int, str]]
) -> None:
    code, line = complaint(*words.split())
    assert (code, reason in line) == (status, True), line


def test_a_name_from_a_folder_cannot_talk_to_the_terminal(
    tmp_path: Path, complaint: Callable[..., tuple[int, str]]
) -> None:
    folder = toys.character_folder(tmp_path / "evil", name="\x1b]0;evil\x07\n")
    _, line = complaint("generate", str(folder), "xyz")
    assert "\x1b" not in line


@pytest.mark.parametrize("words", [["generate", "text", "--seed"], ["export", "inspect", "x.pt", "--size"], ["train"]])
def test_wrong_usage_echoes_no_more_than_a_line_of_what_a_terminal_obeys(words: list[str], tui_gen: Run) -> None:
    run = tui_gen(*words, "\x1b]0;evil\x07\n" * 5000)
    assert run.returncode == 2
    assert run.stderr.count(b"\n") == 1
    assert len(run.stderr) < 4000
    assert b"\x1b" not in run.stderr


def test_verbose_shows_where_it_failed_and_ends_with_the_same_line(tui_gen: Run) -> None:
    quiet = tui_gen("generate", "tetx").stderr.decode()
    for words in (("generate", "tetx", "-v"), ("-v", "generate", "tetx")):
        verbose = tui_gen(*words).stderr.decode()
        assert verbose.startswith("Traceback (most recent call last):")
        assert "in locate" in verbose
        assert verbose.endswith(quiet)


def test_the_screen_is_not_for_a_terminal_that_takes_no_escape_codes(tui_gen: Run) -> None:
    done = tui_gen("text", terminal=True, TERM="dumb")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"TERM is dumb; use `tui-gen generate`" in done.stderr


@with_full_device
@pytest.mark.parametrize("words", ["models", "inspect text", "generate image --format png", "score --help"])
def test_a_full_disk_behind_stdout_is_told_in_one_line(words: str, tui_gen: Run) -> None:
    done = tui_gen(*words.split(), stdout=io.FileIO("/dev/full", "w"))
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == ["tui-gen: stdout cannot be written: No space left on device"]


def test_ctrl_c_in_front_of_a_pager_that_is_then_left_is_quiet(tui_gen: Run, tmp_path: Path) -> None:
    done = tui_gen("generate", "endless", "the", "--seed", "3", stdout=LeftPager(tmp_path / "pager", "w"))
    assert done.returncode == 130
    [report] = done.stderr.decode().split("\n")[1:-1]
    assert "seed 3" in report


@without_cuda
def test_falling_back_to_the_cpu_is_one_remark_and_no_warnings_of_onnxruntime(
    toy_models: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", str(toy_models / "text"), "--provider", "auto"]) == 0
    [line] = capfd.readouterr().err.splitlines()
    assert "CPU (no NVIDIA driver found)" in line


@pytest.fixture
def start(program: Program) -> Iterator[Start]:
    """Starts the program with pipes for stdout and stderr; it is gone when the test is."""
    processes: list[subprocess.Popen[bytes]] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a child inherits it if SIGINT was ignored

    def start(*words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(**program(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        processes.append(process)
        return process

    yield start
    signal.signal(signal.SIGINT, before)
    for process in processes:
        process.kill()
        process.communicate()


def test_bytes_that_are_no_text_are_an_unknown_word_on_stdin_and_on_the_command_line(program: Program) -> None:
    for locale in ("C.UTF-8", "C"):
        for prompt, stdin in (("-", b"the \xff\n"), ("the \udcff", b"")):
            command = program("generate", "text", prompt, LC_ALL=locale)
            done = subprocess.run(**command, input=stdin, capture_output=True, timeout=60, check=True)
            assert done.stdout[:9] == b"the <unk>"


def test_a_reader_that_leaves_early_is_no_failure(start: Start) -> None:
    process = start("generate", "endless", "the", "-l", "1000000")
    assert process.stdout
    assert process.stderr
    assert process.stdout.read(3) == b"the"
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == b""


def test_ctrl_c_ends_a_run_at_once_and_what_was_printed_stays(start: Start, tui_gen: Run) -> None:
    process = start("generate", "endless", "the", "-l", "1000000", "--seed", "3")
    assert process.stdout
    begin = process.stdout.read(2000)
    process.send_signal(signal.SIGINT)
    rest, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"seed 3" in complaint  # so that it can be made again
    assert complaint.strip().count(b"\n") == 0
    assert rest.endswith(b"\n")
    uninterrupted = tui_gen("generate", "endless", "the", "-l", "1000", "--seed", "3").stdout
    assert uninterrupted[:1990] == begin[:1990]


@pytest.mark.parametrize("graph", [hostile.endless(20), hostile.stubborn(20)], ids=["can be ended", "cannot"])
def test_ctrl_c_ends_a_step_that_has_no_end(graph: onnx.ModelProto, start: Start, tmp_path: Path) -> None:
    folder = toys.endless_text_folder(tmp_path / "endless", graph=graph.SerializeToString())
    process = start("generate", str(folder), "the", "--trust")
    assert process.stdout
    process.stdout.read(3)  # as much as comes before that step
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)
    assert process.returncode == 130


@with_full_device
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_not_told_once_more_when_the_program_exits(unbuffered: str, program: Program) -> None:
    command = program("generate", "text", PYTHONUNBUFFERED=unbuffered)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(**command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == ["tui-gen: stdout cannot be written: No space left on device"]


@pytest.mark.skipif(not shutil.which("sh"), reason="needs a shell")
@pytest.mark.parametrize(("closed", "status"), [(">&-", 1), ("2>&-", 0)])
def test_a_closed_stdout_is_told_and_a_closed_stderr_adds_nothing_to_stdout(
    closed: str, status: int, program: Program
) -> None:
    command = program("generate", "text", "the", "-t", "0")
    command["args"] = ["sh", "-c", f'"$@" {closed}', "sh", *command["args"]]
    done = subprocess.run(**command, capture_output=True, check=False)
    complaint = b"tui-gen: stdout cannot be written: Bad file descriptor\n"
    expected = (b"", complaint) if status else (f"the {toys.GREEDY_TEXT}\n".encode(), b"")
    assert (done.returncode, done.stdout, done.stderr) == (status, *expected)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Every place for files in a temporary directory, and no threads of numpy's own."""
    places = {"HOME": "home", "TMPDIR": "tmp", "XDG_CACHE_HOME": "cache", "XDG_CONFIG_HOME": "config",
              "XDG_DATA_HOME": "data", "XDG_STATE_HOME": "state", "XDG_RUNTIME_DIR": "runtime"}  # fmt: skip
    for folder in places.values():
        (tmp_path / folder).mkdir()
    dropped = ("ORT_DISABLE_TELEMETRY", "TUI_GEN_MODELS")
    others = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**others, **{name: str(tmp_path / folder) for name, folder in places.items()}, "OPENBLAS_NUM_THREADS": "1"}


def run(command: list[str], environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")
def test_a_run_connects_to_nobody_starts_no_thread_of_telemetry_and_leaves_only_its_own_cache(
    tmp_path: Path, toy_models: Path, environment: dict[str, str]
) -> None:
    done = run([sys.executable, "-c", TELEMETRY, str(toy_models / "text")], environment, tmp_path)
    facts: dict[str, Any] = json.loads(done.stdout)
    assert facts == {"status": 0, "events": [], "variable": ["1"], "threads": 0, "sockets": []}, done.stderr
    files = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.parts[:3] for path in files] == [("cache", "tui-gen", "tried")]


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_no_system_call_of_the_network_is_made(tmp_path: Path, toy_models: Path, environment: dict[str, str]) -> None:
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-qq", "-e", "trace=socket,connect,sendto,sendmsg,bind", "-o", str(trace)]
    if run([*strace, "true"], environment, tmp_path).returncode:
        pytest.skip("strace may not trace here")
    command = [*strace, sys.executable, "-m", "tui_gen", "generate", str(toy_models / "text"), "the"]
    done = run(command, environment, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line for line in trace.read_text().splitlines() if "AF_INET" in line or "connect(" in line] == []


def test_telemetry_is_off_even_if_the_environment_says_otherwise(environment: dict[str, str], tmp_path: Path) -> None:
    code = "import os, tui_gen; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = run([sys.executable, "-c", code], {**environment, "ORT_DISABLE_TELEMETRY": "0"}, tmp_path)
    assert done.stdout == "1\n"


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """What is installed, instead of what really is; none at first."""
    points: list[EntryPoint] = []
    monkeypatch.setattr(
        "importlib.metadata.entry_points",
        lambda *, group, name: [point for point in points if (point.group, point.name) == (group, name)],
    )
    return points


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that can be imported as `brought`, and is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "brought", raising=False)
    return tmp_path / "brought.py"


def test_a_command_of_another_package_is_given_its_words_and_its_name(
    points: list[EntryPoint], module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module.write_text("def main(words, *, prog):\n    print(words, prog)\n    return 7\n")
    points.append(EntryPoint("train", "brought:main", GROUP))
    assert main(["train", "--data", "x", "--help", "names"]) == 7
    assert capsys.readouterr().out == "['--data', 'x', '--help', 'names'] tui-gen train\n"
    assert main(["-v", "train", "names"]) == 7
    assert capsys.readouterr().out == "['names', '-v'] tui-gen train\n"


@pytest.mark.parametrize("missing", ["torch", "onnx.helper", "safetensors"])
def test_without_pytorch_the_exporter_says_in_a_line_what_to_install(
    points: list[EntryPoint], module: Path, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    module.write_text(f"raise ModuleNotFoundError('No module named {missing}', name='{missing}')\n")
    points.append(EntryPoint("export", "brought:main", GROUP))
    assert main(["export", "some.pt", "-o", "mine"]) == 1
    assert capsys.readouterr().err == (
        f"tui-gen: export needs PyTorch and ONNX, and {missing} is not installed; install them with: "
        "pip install 'tui-gen[export]'\n"
    )


def test_what_nobody_foresaw_is_one_line_that_asks_for_a_report(
    points: list[EntryPoint], module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module.write_text("\nimport nothing_of_this_name\n")
    points.append(EntryPoint("export", "brought:main", GROUP))
    assert main(["export"]) == 1
    fault = "ModuleNotFoundError: No module named 'nothing_of_this_name' (brought.py, line 2)"
    cure = "please report it, with the traceback that -v shows and what tui-gen doctor says"
    line = f"tui-gen: {fault}; nobody foresaw this: {cure}\n"
    assert capsys.readouterr().err == line
    assert main(["-v", "export"]) == 1
    verbose = capsys.readouterr().err
    assert verbose.startswith("Traceback (most recent call last):")
    assert verbose.endswith(line)


def test_without_the_exporter_it_says_what_to_install(
    points: list[EntryPoint], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--help"]) == 1
    assert capsys.readouterr().err == (
        "tui-gen: evaluate needs the exporter, which is not installed; install it with: pip install 'tui-gen[export]'\n"
    )


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_what_the_project_declares_is_there(point: EntryPoint) -> None:
    assert list(inspect.signature(point.load()).parameters) == ["arguments", "prog"]


def test_each_command_of_the_exporter_is_one_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    commands = capsys.readouterr().out
    assert all(f"  tui-gen {point.name} " in commands for point in POINTS)


@pytest.mark.parametrize("command", ["train", "evaluate", "adherence"])
def test_the_exporters_own_command_line_has_them_too(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    from export.__main__ import main as export_main

    with pytest.raises(SystemExit):
        export_main([command, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: python -m export {command} [-h]")


def test_ctrl_c_while_onnxruntime_is_imported_is_no_broken_installation(program: Program, tmp_path: Path) -> None:
    interrupted = (
        "try:\n    raise KeyboardInterrupt\nexcept BaseException as fault:\n    raise ImportError from fault\n"
    )
    (tmp_path / "onnxruntime.py").write_text(interrupted)
    done = subprocess.run(**program("generate", "text", PYTHONPATH=str(tmp_path)), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, b"")
