"""Publishes a network while it is trained: the newest as a model folder, earlier ones, and a line in the log."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import nn

from tui_gen.errors import TuiGenError
from tui_gen.files import lock_at_once
from tui_gen.terminal_text import say
from tui_gen.training_log import Learning, TrainingLog
from tui_gen.training_run import EPOCHS, LOCK, MODEL, Publication, epoch_folder, epoch_folders, epoch_of

from .checkpoints.checkpoint import Checkpoint
from .convert import Conversion, conversion_of
from .factory.owner import fault_line
from .factory.read import read_module
from .folder import write_folder
from .live import as_if_nothing_were, copy_module, is_first_process
from .reader import Diagnosis, Exportable, Reading, ReadOptions
from .samples import OpenStep, SampleRequest, draw_samples
from .text.vocabulary_files import CHARACTER_SETS

_NEXT = "next"
"""A folder among the epochs that is being written."""
_FORM, _SOURCE = "a network that is being trained", "the live network"
_LONGEST_NAME = 300
_MEGABYTE = 10**6
KEEP_MB = 200
"""That earlier networks may take, of a training that does not say."""
MOST_KEPT = 1000
"""Earlier networks, however small: whoever watches looks at each."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def publish(
    module: nn.Module,
    run: Path,
    *,
    vocabulary: object,
    epoch: int | None,
    losses: tuple[float | None, float | None],
    unit: str,
    samples: tuple[str, tuple[int, ...], float, int],
    keep_mb: float,
    options: Mapping[str, Any],
) -> Publication:
    """As `tui_gen.publish`."""
    if not is_first_process():
        return Publication(epoch or 0, 0.0, trouble="the first process of the training publishes")
    publisher = publisher_of(run)

    def convert() -> Conversion:
        with as_if_nothing_were():
            facts, path = _vocabulary(vocabulary)
            checkpoint = Checkpoint(_FORM, {}, facts=facts)
            read_options = ReadOptions(vocab=path, **options)
            reading = read_module(copy_module(module), _SOURCE, checkpoint, read_options, must_answer=False)
            return publisher.convert(reading, OpenStep.of)  # the tokenizer is nobody else's

    return publisher.publish(convert, epoch, losses, unit=unit, request=SampleRequest(*samples), keep_mb=keep_mb)


class Publisher:
    """Writes into one run, which is this process's alone until it ends."""

    def __init__(self, run: Path) -> None:
        self.run, self.name = run, run.resolve().name
        self._log = TrainingLog(run)
        self._proved: Diagnosis | None = None
        """What a network was that was proved whole."""
        self._has_noted = False
        """Whether the log has a line of this process."""
        self._lock: int | None = None
        """Held until the process ends."""
        self._told = set[str]()

    def publish(
        self,
        convert: Callable[[], Conversion],
        epoch: int | None,
        losses: tuple[float | None, float | None],
        *,
        unit: str,
        request: SampleRequest,
        keep_mb: float,
    ) -> Publication:
        """Converts, draws samples, writes; tells once what goes wrong, and never raises for it."""
        began, troubles = time.monotonic(), list[str]()
        conversion: Conversion | None = None
        folder: Path | None = None
        try:
            self.claim()
        except (TuiGenError, OSError) as fault:
            return Publication(epoch or 0, time.monotonic() - began, trouble=self._tell(fault))
        with self._telling(troubles):
            self._log.update(None)
        is_damaged, epochs = bool(troubles), self._log.learning.epochs
        number = epoch if epoch is not None else 1 + (epochs[-1].number if epochs else 0)
        entry: dict[str, Any] = {"epoch": number, "unit": unit, **_losses(losses)}
        with self._telling(troubles):
            conversion = convert()
            entry |= draw_samples(conversion.step, request)
        entry |= {"seconds": round(time.monotonic() - began, 2), **({"trouble": troubles[0]} if troubles else {})}
        entry |= {"restart": True} if any(each.number < number for each in epochs) and not self._has_noted else {}
        if not is_damaged:
            with self._telling(troubles):
                self._log.add(entry)
                self._has_noted = True
        with self._telling(troubles):
            folder = self._write(conversion, entry, keep_mb) if conversion else None
        self._close(entry, troubles, is_damaged=is_damaged)
        parity = conversion.card.export["parity"] if conversion else {}
        seconds = time.monotonic() - began
        return Publication(number, seconds, folder, parity.get("original_difference"), "; ".join(troubles))

    def keep(self, exportable: Exportable, step: OpenStep, entry: Mapping[str, Any]) -> None:
        """Publishes a network whose training notes its epochs itself, of which this is the last."""
        troubles = list[str]()
        with self._telling(troubles):
            self.claim()
            self._write(self.convert(Reading(Diagnosis(_FORM), lambda: exportable), lambda _: step), entry, KEEP_MB)
        self._close(entry, troubles, is_damaged=False)

    def _close(self, entry: Mapping[str, Any], troubles: list[str], *, is_damaged: bool) -> None:
        """Notes why an epoch has no network, where its line does not say so; after one without, all is told anew."""
        if not troubles:
            self._told.clear()
        elif not is_damaged and "trouble" not in entry:
            with self._telling(troubles):
                self._log.add({**entry, "trouble": troubles[0]})

    def convert(self, reading: Reading, open_step: Callable[[Exportable], OpenStep]) -> Conversion:
        """Proves whole what is of other sizes than the network before."""
        is_brief = reading.diagnosis == self._proved
        conversion = conversion_of(reading, name=self.name, open_step=open_step, is_brief=is_brief, tell=_silence)
        self._proved = reading.diagnosis
        return conversion

    @contextlib.contextmanager
    def _telling(self, troubles: list[str]) -> Iterator[None]:
        """Whatever the network's own code, or the disk, makes of this: the training is worth more."""
        try:
            yield
        except Exception as fault:
            troubles.append(self._tell(fault))

    def _tell(self, fault: Exception) -> str:
        cause = fault.__cause__ if isinstance(fault, TuiGenError) else fault
        if isinstance(cause, OSError) and cause.errno in _FULL:
            text = f"the disk takes no more ({cause.strerror})"
        else:
            text = str(fault) if isinstance(fault, TuiGenError) else fault_line(fault)
        if text not in self._told:
            self._told.add(text)
            say(f"publish to {self.run}: {text}; the training goes on, and this is not told again")
        return text

    def _write(self, conversion: Conversion, entry: Mapping[str, Any], keep_mb: float) -> Path:
        """The newest network in the place of the last, which is kept among the earlier ones as far as they may."""
        model = self.run / MODEL
        partial = self.run / EPOCHS / _NEXT
        shutil.rmtree(partial, ignore_errors=True)
        place = {key: entry[key] for key in ("epoch", "part") if key in entry}
        card = replace(conversion.card, export={**conversion.card.export, **place})
        write_folder(partial, graph=conversion.graph, card=card, tokenizer=conversion.tokenizer, log=[entry])
        if (last := epoch_of(model)) is not None:
            earlier = epoch_folder(self.run, last)
            shutil.rmtree(earlier, ignore_errors=True)
            model.rename(earlier)
        partial.rename(model)
        if last is not None and last == entry["epoch"]:  # which went on
            shutil.rmtree(epoch_folder(self.run, last), ignore_errors=True)
        with contextlib.suppress(TuiGenError):  # which was told
            self._log.update(None)
        prune(self.run, round(keep_mb * _MEGABYTE), _best(self._log.learning))
        return model

    def claim(self) -> None:
        """Makes the run this process's. Raises TuiGenError, with its name, where another training writes there."""
        self.run.mkdir(parents=True, exist_ok=True)
        if self._lock is not None and (self.run / LOCK).exists():
            return
        lock = os.open(self.run / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        if not lock_at_once(lock, without=True):
            other = os.read(lock, _LONGEST_NAME).decode("utf-8", "replace").strip()
            os.close(lock)
            raise TuiGenError(f"another training writes into {self.run}: {other}; give this one a folder of its own")
        name = f"process {os.getpid()} on {socket.gethostname()}: {shlex.join(sys.argv)}".encode()[:_LONGEST_NAME]
        with contextlib.suppress(OSError):  # a full disk, which harms nothing else here
            os.ftruncate(lock, 0)
            os.write(lock, name)
        if self._lock is not None:  # of a folder that was removed
            os.close(self._lock)
        self._lock = lock


_PUBLISHERS: dict[Path, Publisher] = {}
"""Of this process, by the run."""


def publisher_of(run: Path) -> Publisher:
    """What publishes into a run, always the same in this process."""
    return _PUBLISHERS.setdefault(run.resolve(), Publisher(run))


def _silence(*_: str) -> None:
    """Takes the lines of a proof, which nobody waits for."""


def _vocabulary(value: object) -> tuple[dict[str, object], str | None]:
    """A vocabulary as a checkpoint would hold it, and as --vocab would name it: one of the two, or neither."""
    backend = getattr(value, "backend_tokenizer", value)
    if isinstance(backend, Tokenizer):
        return {"tokenizer": backend.to_str()}, None
    if isinstance(value, str | Path):
        is_file = isinstance(value, Path) or value in CHARACTER_SETS or os.path.exists(value)
        return ({}, str(value)) if is_file else ({"stoi": {each: at for at, each in enumerate(str(value))}}, None)
    if callable(tokens := getattr(value, "get_itos", None)):  # of torchtext
        value = tokens()
    if isinstance(value, list | tuple):
        return {"stoi": {token: at for at, token in enumerate(value)}}, None
    return ({} if value is None else {"vocab": value}), None


def _losses(losses: tuple[float | None, float | None]) -> dict[str, float | str | None]:
    """As JSON has them: what is no number is a text there, such as `nan`."""
    names = ("train_loss", "validation_loss")
    numbers = [None if loss is None else float(loss) for loss in losses]
    return {
        name: number if number is None or math.isfinite(number) else str(number)
        for name, number in zip(names, numbers, strict=True)
    }


def prune(run: Path, most: int, best: int | None) -> None:
    """Deletes earlier networks until they take at most so many bytes: first those with the nearest neighbours, by the
    ratio of their epochs, so that the beginning, when a network changes most, stays; the first and the best go last.
    """
    folders = epoch_folders(run)
    sizes = {epoch: sum(file.stat().st_size for file in folder.iterdir()) for epoch, folder in folders.items()}
    while sizes and (sum(sizes.values()) > most or len(sizes) > MOST_KEPT):
        epoch = min(sizes, key=lambda each: _worth(each, list(sizes), best))
        shutil.rmtree(folders[epoch])
        del sizes[epoch]


def _worth(epoch: int, epochs: Sequence[int], best: int | None) -> tuple[bool, float]:
    at = epochs.index(epoch)
    before, after = epochs[max(0, at - 1)], epochs[min(len(epochs) - 1, at + 1)]
    return epoch in (epochs[0], best), after / max(1, before)


def _best(learning: Learning) -> int | None:
    """The epoch with the lowest held-out loss."""
    epochs = [epoch for epoch in learning.epochs if not math.isnan(epoch.validation_loss)]
    return min(epochs, key=lambda epoch: epoch.validation_loss).number if epochs else None
