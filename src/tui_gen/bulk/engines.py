"""Where the parts of a job are computed: in processes of this machine, or on a cluster by Ray Data."""

from __future__ import annotations

import io
import logging
import os
import pickle
import re
import signal
import socket
import sys
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import islice
from typing import IO, Any, cast

from tui_gen.bulk.compute import Computer, Setup
from tui_gen.bulk.job import Part
from tui_gen.child import start
from tui_gen.errors import TuiGenError
from tui_gen.files import temporary_folder
from tui_gen.library import network_files
from tui_gen.terminal_text import brief, counted, say

Result = tuple[int, bytes]
"""The number of a part, and its file."""
Computed = Generator[Result, None, None]
"""To be closed: then all that compute end."""
_ADDRESS = re.compile(r"([^:/]+):(\d{1,5})")
"""Of a cluster's head; others are left to Ray."""
_PATIENCE = 5
"""Seconds for it to answer."""
_CODE = "from tui_gen.bulk.engines import serve; serve()"
_WIDEST = 200
"""Characters of a message of Ray."""
_ATTEMPTS = 3
"""Workers that may die of a part."""
RAY_MISSING = "--engine ray needs the package ray: pip install 'tui-gen[ray]', or leave it out for this machine"


# --- this machine ---


class _Worker:
    """A process of ours that computes parts. It ends with this program."""

    def __init__(self, setup: Setup) -> None:
        self._process = start(_CODE)
        self._tell(setup)

    def compute(self, part: Part) -> bytes:
        """Raises TuiGenError where the model fails; EOFError or OSError where the process has ended."""
        self._tell(part)
        answer: bytes | str = pickle.load(cast(IO[bytes], self._process.stdout))
        if isinstance(answer, str):
            raise TuiGenError(answer)
        return answer

    def end(self) -> int:
        """Its exit status."""
        self._process.kill()
        status = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what it was not told yet
                cast(IO[bytes], pipe).close()
        return status

    def _tell(self, message: object) -> None:
        requests = cast(IO[bytes], self._process.stdin)
        pickle.dump(message, requests)
        requests.flush()


class _Workers:
    """Processes that compute parts; a part whose process dies is computed by another one."""

    def __init__(self, setup: Setup) -> None:
        self._setup, self._all, self._idle, self._is_over = setup, list[_Worker](), list[_Worker](), False

    def compute(self, part: Part) -> Result:
        """Waits for it. Raises TuiGenError where the model fails, and for a part that several processes died of."""
        status: int | None = None
        for _ in range(_ATTEMPTS):
            if self._is_over:  # nobody waits for it any more
                break
            worker = self._idle.pop() if self._idle else self._start()
            try:
                content = worker.compute(part)
            except (EOFError, OSError, ValueError, pickle.UnpicklingError):
                status = worker.end()
                continue
            self._idle.append(worker)
            return part.number, content
        rows = f"rows {part.first} to {part.first + part.rows - 1}"
        hint = "if memory is short, try a smaller --batch"
        raise TuiGenError(f"{_ATTEMPTS} processes died of {rows} (exit status {status}); {hint}")

    def end(self) -> None:
        """Ends them all."""
        self._is_over = True
        for worker in list(self._all):
            worker.end()

    def _start(self) -> _Worker:
        worker = _Worker(self._setup)
        self._all.append(worker)
        return worker


def on_this_machine(setup: Setup, parts: Iterable[Part], workers: int) -> Computed:
    """Computes each part in one of so many processes, and yields it as it comes. Raises as `_Workers.compute` does."""
    processes, source = _Workers(setup), iter(parts)
    with ThreadPoolExecutor(workers) as threads:
        try:
            pending = {threads.submit(processes.compute, part) for part in islice(source, workers)}
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                pending |= {threads.submit(processes.compute, part) for part in islice(source, len(done))}
                for result in done:
                    yield result.result()
        finally:
            processes.end()


def serve() -> None:
    """In the process: computes what it is sent, until nobody sends any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command line is told, and ends its workers
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing else may come between the answers
    with suppress(EOFError, OSError):
        setup, computer = pickle.load(requests), None
        while True:
            part = pickle.load(requests)
            try:
                computer = computer or Computer(setup)
                answer: bytes | str = computer.compute(part)
            except TuiGenError as fault:
                answer = str(fault)
            pickle.dump(answer, answers)
            answers.flush()


# --- Ray ---


class RayMessages(io.TextIOBase):
    """Stands for stdout, where Ray prints what happens to its machines: each message is told, by its first line."""

    def write(self, text: str) -> int:
        for line in text.strip().splitlines()[:1]:
            say(brief(line, _WIDEST))
        return len(text)


def on_ray(setup: Setup, parts: Iterable[Part], workers: int | None, address: str | None) -> Computed:
    """Computes each part on a cluster, in an actor for each processor, or each GPU; one that dies is started again.

    workers: actors; None for as many as there is room for. The model travels once, to machines that do not see it.
    Raises TuiGenError for what does not fit the cluster, and where a model fails.
    """
    rows = [{"part": pickle.dumps(part)} for part in parts]
    if not rows:
        return
    with _connected(address) as ray:
        kind = "GPU" if setup.provider == "cuda" else "CPU"
        actors = _room(ray, kind, workers)
        model = ray.put({path.name: path.read_bytes() for path in network_files(setup.model)})
        results = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _Actor,
            fn_constructor_args=(setup, [model]),
            compute=ray.data.ActorPoolStrategy(size=min(actors, len(rows))),
            batch_size=1,
            **({"num_gpus": 1} if kind == "GPU" else {"num_cpus": 1}),
        )
        for row in results.iter_rows():
            if row["fault"]:
                raise TuiGenError(row["fault"])
            yield int(row["number"]), row["content"]


class _Actor:
    """Computes parts on a machine of the cluster."""

    def __init__(self, setup: Setup, model: list[Any]) -> None:
        """model: the reference to its files, in a list, where Ray does not fetch them unasked."""
        if not setup.model.exists():
            import ray

            self._copy, files = ExitStack(), ray.get(model[0])
            folder = self._copy.enter_context(temporary_folder())
            for name, content in files.items():
                (folder / name).write_bytes(content)
            setup = replace(setup, model=folder / setup.model.name if len(files) == 1 else folder)
        self._computer = Computer(replace(setup, device=0))  # the only one that Ray shows it

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        part: Part = pickle.loads(batch["part"][0])
        try:
            return {"number": [part.number], "content": [self._computer.compute(part)], "fault": [""]}
        except TuiGenError as fault:
            return {"number": [part.number], "content": [b""], "fault": [str(fault)]}


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Ray, connected to a cluster, or to one that it starts on this machine; in the end it tells nothing any more."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told what is computed here
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its warnings are about itself
    os.environ.setdefault("RAY_COLOR_PREFIX", "0")
    try:
        import ray
        import ray.data
    except ImportError as fault:
        raise TuiGenError(RAY_MISSING) from fault
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        if address and (place := _ADDRESS.fullmatch(address)):  # Ray itself waits for minutes, and says much
            socket.create_connection((place[1], int(place[2])), timeout=_PATIENCE).close()
        with _undisturbed():
            dashboard = None if address else False
            ray.init(address, include_dashboard=dashboard, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as fault:
        is_asked = address and not os.environ.get("RAY_AUTH_MODE")
        hint = "; if it asks for a token, set RAY_AUTH_MODE=token" if is_asked else ""
        raise TuiGenError(f"there is no Ray cluster at {address or 'this machine'}: {fault}{hint}") from fault
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Lets ctrl+c wait until Ray has started, which it leaves processes of else, and drops what it prints meanwhile."""
    interrupts, stderr = list[int](), os.dup(2)
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        signal.signal(signal.SIGINT, before)
    if interrupts and callable(before):
        before(signal.SIGINT, None)


def _room(ray: Any, kind: str, workers: int | None) -> int:
    """How many actors the cluster has room for now. Raises TuiGenError for more than there is room for, or none."""
    has, free = (int(facts.get(kind, 0)) for facts in (ray.cluster_resources(), ray.available_resources()))
    name = "GPU" if kind == "GPU" else "processor"
    if not free or (workers or 0) > free:
        asked = f"{workers} workers need one each" if workers else "a worker needs one"
        raise TuiGenError(f"{asked}, and of the cluster's {counted(has, name)} {free} are free; wait, or take fewer")
    return workers or free
