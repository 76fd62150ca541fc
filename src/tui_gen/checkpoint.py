"""Checkpoints in the place of models: the exporter converts one in a child process, into a cache.

Nothing of PyTorch is loaded here. What the exporter says of a file comes as JSON, and is a stranger's text.

    <cache>/checkpoints/<key>/        a model folder, whole or not there
    <cache>/checkpoints/<key>.json    of a file and what was told on the command line: the folder, and what it rests on
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from io import TextIOBase
from pathlib import Path
from typing import Any

from tui_gen import __version__
from tui_gen.child import Report, ignore, limit, receive, run_in_child
from tui_gen.errors import TuiGenError
from tui_gen.files import cache_folder, check_whole, read_beginning, replace_private
from tui_gen.json_fields import MAX_LENGTH, JsonFields, parse_json
from tui_gen.terminal_text import scrub_line

Answers = tuple[tuple[str, str], ...]
"""Options of the exporter with their values, such as ("--assume", "bos=<s>")."""
OPTIONS = ("--vocab", "--corpus", "--vocab-rule", "--size", "--levels", "--scaling", "--assume", "--time-limit")
"""Of the exporter, those that say what a file does not."""
COMMAND_OPTIONS = ("--factory", "--reference", "--dtype", "--guidance", "--name", "--force", "--keep-weights")
"""The others, by which its command alone makes a model."""
OF_FILES = ("--vocab", "--corpus")
_GUESSED = "--assume"
"""What only tensors could tell; the other options say what the data was, which a person knows."""
COMMANDS = "tui_gen.commands"
"""The group of entry points by which the exporter's commands are found."""
_NEEDS = ("torch", "onnx", "onnxscript", "safetensors")
"""What `pip install 'tui-gen[export]'` adds."""
_CURE = "pip install 'tui-gen[export]'"
_SECONDS = 600
"""Of a processor, that a conversion may take."""
_MEMORY, _MEMORY_A_PROCESSOR, _MEMORY_A_BYTE = 2 * 2**30, 2**26, 20
"""Bytes that it may take: for PyTorch, for the threads of each processor, and for each byte of the files. The weights
of a network stand in memory eight times at most, and half as large in a file as in a model."""
_BUDGET = 2 * 2**30
"""Bytes that the cache may take."""
_BLOCK = 2**20
_MOST_ENTRIES, _MOST_QUESTIONS, _LONGEST = 1000, 200, 4000
_INDEX = (".index.json", ".distcp", ".metadata")
"""How names end of files beside which the others of a checkpoint lie."""
_SHARD = re.compile(r"-\d+-of-\d+\.")
_OPTION = re.compile(r"(--[a-z-]+)(?: ([a-z_]+)=)?")
_DIAGNOSIS, _LINE = "diagnosis", "line"
"""How a report of the child begins."""


@dataclass(frozen=True)
class Question:
    """Something that a file does not say."""

    what: str
    """Such as `the vocabulary`."""
    option: str
    """How it is told, such as `--assume first_state=zeros|learned`; several ways may stand there."""
    default: str = ""
    """What stands in for it; empty where somebody must answer."""
    choices: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether a person knows better than a guess, or there is none."""
        return not self.default or not self.option.startswith(_GUESSED)

    @property
    def fields(self) -> list[tuple[str, str, str]]:
        """The ways to tell it: option, key of an assumption or nothing, and how the value is written."""
        places = list(_OPTION.finditer(self.option))
        ends = [*(place.start() for place in places[1:]), len(self.option)]
        usages = (self.option[place.end() : end].strip() for place, end in zip(places, ends, strict=True))
        return [
            (place[1], place[2] or "", re.sub(r"(,? or|,| and)$", "", usage))
            for place, usage in zip(places, usages, strict=True)
            if place[1] in OPTIONS
        ]

    def __str__(self) -> str:
        return f"{self.what}: {self.default} (to change it: {self.option})"


@dataclass(frozen=True)
class Diagnosis:
    """What the exporter says of a file."""

    summary: str
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether a person is to be asked."""
        return any(question.is_open for question in self.questions)

    @classmethod
    def from_json(cls, text: str) -> Diagnosis:
        """Raises TuiGenError for a text that is none."""
        value = parse_json(text)
        if not isinstance(value, dict):
            raise TuiGenError("is no object")
        return cls.from_fields(JsonFields(value, ""))

    @classmethod
    def from_fields(cls, fields: JsonFields) -> Diagnosis:
        """Raises TuiGenError for what is missing or of another kind."""
        pairs = [pair for pair in fields.items("facts") if isinstance(pair, list) and len(pair) == 2]
        return cls(
            scrub_line(fields.text("summary")[:_LONGEST]),
            tuple((_line(name), _line(fact)) for name, fact in pairs),
            tuple(map(_line, fields.items("notes"))),
            tuple(_question(each) for each in fields.items("missing")[:_MOST_QUESTIONS]),
        )

    def as_json(self) -> dict[str, Any]:
        """As the exporter has it."""
        facts = asdict(self)
        return {**facts, "missing": facts.pop("questions")}


def _question(value: object) -> Question:
    if not isinstance(value, dict):
        raise TuiGenError("'missing' must be a list of objects")
    fields = JsonFields(value, "missing.")
    choices = tuple(each for each in fields.items("choices") if each == _line(each))
    what, option, default = (_line(fields.text(key, "")) for key in ("what", "option", "default"))
    return Question(what, option, default, choices)


def _line(value: object) -> str:
    return scrub_line(str(value)[:_LONGEST])


Ask = Callable[[Diagnosis], Answers]
"""Asks a person what a file does not say."""


class StoppedError(TuiGenError):
    """Nobody waits for the conversion any more."""


@dataclass(frozen=True)
class Conversion:
    """The model that was made of a checkpoint."""

    path: Path
    """The checkpoint."""
    folder: Path
    """The model folder, in the cache."""
    answers: Answers
    diagnosis: Diagnosis

    @property
    def command(self) -> str:
        """What makes the same model, to keep."""
        words = ["tui-gen", "export", str(self.path), *_words(self.answers), "-o", f"models/{model_name(self.path)}"]
        return shlex.join(words)

    @property
    def guesses(self) -> list[str]:
        """What the model rests on that neither the file nor a person has said."""
        return [str(question) for question in self.diagnosis.questions if question.default]


def open_checkpoint(
    path: Path,
    answers: Answers = (),
    *,
    more: Answers | None = None,
    ask: Ask | None = None,
    tell: Report = ignore,
    is_stopped: Callable[[], bool] = bool,
) -> Conversion:
    """The model of a checkpoint: a file or folder that the exporter reads, by its content, not by its name.

    It is converted in a child process, unless that was done already: of the same content, with the same answers.

    answers: what was told beforehand, such as on the command line. more: what a person has answered since, None where
    nobody was asked; counts from now on wherever the file is opened with the same `answers`. ask: returns more, where a
    person knows better than a guess; without it guesses stand in. tell: takes lines about what is being done.
    is_stopped: whether nobody waits for it any more; then StoppedError is raised. Raises TuiGenError that says why it
    cannot be converted, or what is missing.
    """
    before = fingerprint(path)
    entry = _cache() / f"{_key(before, answers)}.json"
    if more is None and (conversion := _read_entry(entry, path)):
        with contextlib.suppress(OSError):
            os.utime(conversion.folder)  # what was used last is kept longest
        return conversion
    check_exporter()
    with contextlib.suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True)
    child = _Exporter(path, before, answers + (more or ()), tell, ask if more is None else None)
    diagnosis = child.convert(is_stopped)
    if fingerprint(path) != before:
        raise TuiGenError(f"{path} was written while it was read; open it again")
    conversion = Conversion(path, child.folder, child.answers, diagnosis)
    with contextlib.suppress(OSError):  # without an entry it is converted again, and without a look around kept longer
        _write_entry(entry, conversion)
        _prune(entry.parent)
    return conversion


def known_conversion(path: Path, answers: Answers = ()) -> Conversion | None:
    """What was made of a checkpoint as it is now with these answers; None where it is still to be converted."""
    return _read_entry(_cache() / f"{_key(fingerprint(path), answers)}.json", path)


def check_exporter() -> None:
    """Raises TuiGenError with the cure where no checkpoint can be converted; loads nothing."""
    for package in _NEEDS[:2]:
        try:
            if find_spec(package):
                continue
        except ValueError:  # it was kept from being loaded
            pass
        raise missing_package("opening a checkpoint", package)


def missing_package(task: str, package: str) -> TuiGenError:
    """What to say where something of the exporter is not installed."""
    if package.partition(".")[0] not in _NEEDS:
        return TuiGenError(f"{task} needs the exporter, which is not installed; install it with: {_CURE}")
    return TuiGenError(f"{task} needs PyTorch and ONNX, and {package} is not installed; install them with: {_CURE}")


def load_command(name: str) -> Callable[..., int]:
    """A command of the exporter. Raises TuiGenError with the cure where it, or what it needs, is not installed."""
    from importlib.metadata import entry_points

    points = tuple(entry_points(group=COMMANDS, name=name))
    if not points:
        raise missing_package(name, "")
    try:
        command: Callable[..., int] = points[0].load()
    except ModuleNotFoundError as fault:
        if (fault.name or "").partition(".")[0] not in _NEEDS:
            raise
        raise missing_package(name, str(fault.name)) from fault
    return command


# --- what is a checkpoint ---


def is_checkpoint(path: str | Path) -> bool:
    """Whether a file looks like one of PyTorch, safetensors or pickle: by its first bytes and, of a zip, its index; or
    a folder, which is no model's, holds such files.
    """
    path = str(path)
    if os.path.isdir(path):
        return _is_folder_of_one(path)
    if not os.path.isfile(path):
        return False
    if path.endswith(_INDEX):
        return True
    with contextlib.suppress(OSError), open(path, "rb") as file:
        head, size = file.read(9), os.path.getsize(path)
        if head.startswith(b"PK"):
            return _holds_pickle(path)
        is_safetensors = head[8:] == b"{" and int.from_bytes(head[:8], "little") <= size - 8
        return is_safetensors or (head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"))
    return False


def _is_folder_of_one(folder: str) -> bool:
    names = {entry.name for entry in _entries(Path(folder))}
    if "model.onnx" in names:
        return False
    return "data.pkl" in names or any(is_checkpoint(path) for path in _files(folder, names))


def _files(folder: str, names: Iterable[str]) -> list[str]:
    return [path for name in sorted(names) if os.path.isfile(path := os.path.join(folder, name))]


def _holds_pickle(path: str) -> bool:
    """Whether a zip file is one of PyTorch's: a `data.pkl`, and a part for each storage."""
    import zipfile  # of no use for a model

    with (
        contextlib.suppress(OSError, zipfile.BadZipFile, ValueError, NotImplementedError),
        zipfile.ZipFile(path) as zip_,
    ):
        return any(name.rpartition("/")[2] == "data.pkl" for name in zip_.namelist())
    return False


def model_name(path: Path) -> str:
    """What to call the model of a checkpoint: as the file, or as the folder of one that is called like all are."""
    path = path.resolve()
    in_its_folder = path.stem in ("checkpoint", "model", "weights", "pytorch_model") or path.name.endswith(_INDEX)
    return (path.parent.name if in_its_folder else path.name.partition(".")[0]) or "mine"


def fingerprint(path: Path) -> str:
    """In hexadecimal: of the bytes of a file; where there are several, of their names, sizes and times.

    Raises TuiGenError for a file that cannot be read.
    """
    try:
        if folder := _folder(path):
            facts = [(entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in _entries(folder)]
            return hashlib.sha256(repr((path.name, sorted(facts))).encode("utf-8", "surrogateescape")).hexdigest()
        with open(path, "rb") as file:
            check_whole(path, file.fileno())
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as fault:
        raise TuiGenError(f"{path} cannot be read: {fault.strerror}") from fault


def _folder(path: Path) -> Path | None:
    """Where the files of a checkpoint lie that consists of several."""
    several = path.is_dir() or path.name.endswith(_INDEX) or _SHARD.search(path.name)
    return (path if path.is_dir() else path.parent) if several else None


def _size(path: Path, answers: Answers) -> int:
    """Bytes of all that a conversion reads."""
    folder, others = _folder(path), [Path(value) for option, value in answers if option in OF_FILES]
    files = [*(_entries(folder) if folder else [path]), *others]
    return sum(file.stat().st_size for file in files if os.path.isfile(file))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return [entry for entry, _ in zip(entries, range(_MOST_ENTRIES), strict=False)]
    return []


# --- the child ---


def _words(answers: Answers) -> list[str]:
    """As they are typed; what takes several values stands once."""
    words = [f"{option}={value}" for option, value in answers if option != "--corpus"]
    corpus = [value for option, value in answers if option == "--corpus"]
    return [*words, *(["--corpus", *corpus] if corpus else [])]


class _Exporter:
    """The exporter in a child process, and what it has said of a file."""

    def __init__(self, path: Path, content: str, answers: Answers, tell: Report, ask: Ask | None) -> None:
        """content: the fingerprint of the file. The rest is as of `open_checkpoint`."""
        self._path, self._content, self._tell, self._ask = path, content, tell, ask
        self.answers = answers
        self._diagnosis: Diagnosis | None = None
        self._last = "it began to load PyTorch"

    @property
    def folder(self) -> Path:
        """Of the model."""
        return _cache() / _key(self._content, self.answers)

    @property
    def _words(self) -> str:
        """The words of its command line, and whether it waits for others where somebody is asked."""
        name = f"--name={model_name(self._path)}"
        words = [str(self._path.absolute()), *_words(self.answers), f"--output={self.folder}", name, "--json"]
        memory = (
            _MEMORY + _MEMORY_A_PROCESSOR * (os.cpu_count() or 1) + _MEMORY_A_BYTE * _size(self._path, self.answers)
        )
        return json.dumps({"words": words, "waits": self._ask is not None, "memory": memory})

    def convert(self, is_stopped: Callable[[], bool]) -> Diagnosis:
        """Writes the folder. Raises TuiGenError that says why there is none."""
        self._tell("loading PyTorch")
        content, path = self._words.encode(), self._path
        ending = run_in_child(export, content, seconds=_SECONDS, memory=None, tell=self._reply, is_stopped=is_stopped)
        if is_stopped():
            raise StoppedError(f"the conversion of {path} was ended")
        if ending.message:
            message = _line(ending.message)
            raise TuiGenError(message if ending.fault == "TuiGenError" else f"{path}: {message}")
        if ending.status is None:
            raise TuiGenError(
                f"{path} is not converted after {_SECONDS:,} s, so it was given up; the last that it said: {self._last}"
            )
        if ending.status or self._diagnosis is None:
            raise TuiGenError(
                f"the process that converted {path} crashed, perhaps for want of memory; the last that it said: "
                f"{self._last}"
            )
        return self._diagnosis

    def _reply(self, report: str) -> str | None:
        """Takes a report, and returns other words for the same child where somebody has answered."""
        sort, _, text = report.partition(" ")
        if sort == _LINE:
            self._say(_line(text))
        elif sort == _DIAGNOSIS:
            self._diagnosis = Diagnosis.from_json(text)
            self._say(self._diagnosis.summary)
            if self._ask and self._diagnosis.is_open:
                self.answers, self._ask = self.answers + self._ask(self._diagnosis), None
                return self._words
        return None

    def _say(self, line: str) -> None:
        self._last = line
        self._tell(line)


class _OtherWords(BaseException):
    """Ends a command of the exporter, for which others stand in; none of its handlers takes it for an error."""


def export(content: bytes, report: Report) -> None:
    """In the child: the exporter's command, of words that are given as JSON. Raises TuiGenError where it fails."""
    lines, text = list[str](), content.decode()
    limit(None, None, data=json.loads(text)["memory"])
    command = load_command("export")

    def keep(line: str) -> None:
        lines.append(line.partition(": ")[2])
        report(f"{_LINE} {lines[-1]}")

    def diagnose(line: str) -> None:
        report(f"{_DIAGNOSIS} {line}")
        if json.loads(text)["waits"] and Diagnosis.from_json(line).is_open:
            raise _OtherWords

    with contextlib.redirect_stdout(_Lines(diagnose)), contextlib.redirect_stderr(_Lines(keep)):
        while True:
            try:
                status = command(json.loads(text)["words"], prog="tui-gen export")
                break
            except _OtherWords:
                text = receive()
    if status:
        raise TuiGenError(lines[-1] if lines else f"the exporter ended with status {status}")


class _Lines(TextIOBase):
    """A stream that hands on what is written to it line by line."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take, self._rest = take, ""

    def write(self, text: str) -> int:
        """Returns how many characters were taken: all."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in filter(None, lines):
            self._take(line)
        return len(text)


# --- the cache ---


def _cache() -> Path:
    return cache_folder() / "checkpoints"


def _key(file: str, answers: Answers) -> str:
    """Of a file's fingerprint, what is told of it, with the content of files that are named, and our version."""
    facts = [(option, value, _content(value) if option in OF_FILES else "") for option, value in answers]
    return f"{file[:32]}-{hashlib.sha256(repr((facts, __version__)).encode()).hexdigest()[:16]}"


def _content(path: str) -> str:
    """Nothing of a vocabulary that is known by name."""
    return fingerprint(Path(path)) if os.path.isfile(path) else ""


def _read_entry(entry: Path, path: Path) -> Conversion | None:
    """None where there is none, or a damaged one."""
    try:
        fields = JsonFields(parse_json(read_beginning(entry, MAX_LENGTH, follow=False)), "")
        folder = entry.parent / Path(fields.text("folder")).name
        answers = tuple((str(option), str(value)) for option, value in fields.items("answers"))
        diagnosis = Diagnosis.from_fields(fields.section("diagnosis") or JsonFields({}, ""))
    except (TuiGenError, OSError, ValueError, TypeError, AttributeError):
        return None
    if not (folder / "config.json").is_file():
        return None
    return Conversion(path, folder, answers, diagnosis)


def _write_entry(entry: Path, conversion: Conversion) -> None:
    facts = {
        "folder": conversion.folder.name,
        "answers": conversion.answers,
        "diagnosis": conversion.diagnosis.as_json(),
    }
    replace_private(entry, json.dumps(facts).encode())


def _prune(cache: Path) -> None:
    """Removes the models that were not used for longest, until the rest keeps within the budget; never the newest."""
    folders = [path for path in cache.iterdir() if path.is_dir() and not path.name.startswith(".")]
    used = 0
    for number, folder in enumerate(sorted(folders, key=os.path.getmtime, reverse=True)):
        used += sum(os.path.getsize(path) for path in _files(str(folder), os.listdir(folder)))
        if number and used > _BUDGET:
            shutil.rmtree(folder, ignore_errors=True)
    for entry in cache.glob("*.json"):
        if _read_entry(entry, entry) is None:
            entry.unlink(missing_ok=True)
