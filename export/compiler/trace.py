"""Traces a network: runs it once and records the ATen operations that depend on its image or its condition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from ..image_network import ImageNetwork
from .ir import BATCH, NotStreamableError

_SHAPE_ONLY = {"zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty"}
"""Operations whose result depends on nothing but the shape of their operand."""


@dataclass(frozen=True, eq=False)
class Handle:
    """A tensor that depends on the image or on the condition."""

    shape: tuple[int, ...]
    of_image: bool
    """Whether it depends on the image; otherwise on the condition alone."""


@dataclass(frozen=True, eq=False)
class Call:
    """An operation of ATen. Among its arguments, `Handle` stands for tensors that are not constant."""

    function: Any
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    results: tuple[Handle | None, ...]
    module: str
    """Path of the module that made the call."""

    @property
    def name(self) -> str:
        """Such as `convolution`; an operation in place goes by the name of the other."""
        return str(self.function.overloadpacket.__name__).removesuffix("_")

    def argument(self, index: int, name: str, default: Any = None) -> Any:
        """An argument that may have been given by position, by name, or not at all."""
        return self.arguments[index] if index < len(self.arguments) else self.options.get(name, default)


@dataclass(frozen=True, eq=False)
class Trace:
    """A network's operations in their order."""

    image: Handle
    condition: Handle | None
    calls: tuple[Call, ...]
    output: Handle
    names: dict[int, str]
    """Parameters that constants among the arguments are views of, by the id of the constant, which the calls keep."""


def trace(network: ImageNetwork) -> Trace:
    """Runs the network on `BATCH` random images. Raises NotStreamableError if it hides what it does."""
    pixels = np.random.default_rng(0).integers(network.levels, size=(BATCH, network.area))
    planes, condition = network.planes(torch.from_numpy(pixels)), network.no_condition(BATCH)
    recorder = _Recorder(network.module)
    image = recorder.follow(planes, of_image=True)
    condition_handle = None if condition is None else recorder.follow(condition, of_image=False)
    with torch.no_grad(), _module_paths(network.module) as path, recorder:
        recorder.path = path
        result = network.module(planes) if condition is None else network.module(planes, condition)
    output = recorder.handle(result)
    if output is None or not output.of_image:
        raise NotStreamableError("the network's output does not depend on its image")
    calls = _useful(recorder.calls, output)
    constants = {id(value) for call in calls for value in tree_leaves((call.arguments, call.options))}
    names = {number: name for number, name in recorder.names.items() if number in constants}
    return Trace(image, condition_handle, calls, output, names)


def _useful(calls: Sequence[Call], output: Handle) -> tuple[Call, ...]:
    """The calls that the output depends on; a loss, or a check of the input, is none of them."""
    wanted, useful = {output}, list[Call]()
    for call in reversed(calls):
        if wanted.intersection(filter(None, call.results)):
            useful.append(call)
            operands = tree_leaves((call.arguments, call.options))
            wanted |= {operand for operand in operands if isinstance(operand, Handle)}
    return tuple(reversed(useful))


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: dict[int, str] = {}
        self._parameters = {tensor.untyped_storage().data_ptr(): name for name, tensor in module.state_dict().items()}
        self.calls: list[Call] = []
        self.path: Callable[[], str] = str
        self._handles: dict[int, tuple[Tensor, Handle]] = {}  # keeps the tensors, so that no id is used twice

    def follow(self, tensor: Tensor, *, of_image: bool) -> Handle:
        handle = Handle(tuple(tensor.shape), of_image)
        self._handles[id(tensor)] = (tensor, handle)
        return handle

    def handle(self, value: Any) -> Handle | None:
        return self._handles[id(value)][1] if id(value) in self._handles else None

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        arguments, options = tree_map(self._record, args), tree_map(self._record, kwargs or {})
        used = [leaf for leaf in tree_leaves((arguments, options)) if isinstance(leaf, Handle)]
        if used and not _is_one_hot(function, args, used):
            self._refuse_hidden_writes(function, args, arguments)
        result = function(*args, **(kwargs or {}))
        if used and function.overloadpacket.__name__ not in _SHAPE_ONLY:
            of_image = any(leaf.of_image for leaf in used)
            results = as_tuple(result)
            handles = tuple(self.follow(r, of_image=of_image) if isinstance(r, Tensor) else None for r in results)
            self.calls.append(Call(function, arguments, options, handles, self.path()))
        return result

    def _record(self, value: Any) -> Any:
        """The handle of a traced tensor; of any other tensor a copy of its value, for it may be changed in place."""
        if not isinstance(value, Tensor):
            return value
        handle = self.handle(value)
        if handle:
            return handle
        copy = value.detach().clone()
        name = self._parameters.get(value.untyped_storage().data_ptr())
        self.names.pop(id(copy), None)  # of a copy that nothing kept, whose id is used again
        if name:
            self.names[id(copy)] = name
        return copy

    def _refuse_hidden_writes(self, function: Any, args: tuple[Any, ...], arguments: tuple[Any, ...]) -> None:
        """Writing into a part of a tensor changes the whole, which the record would not show."""
        if not function._schema.is_mutable or function.overloadpacket.__name__.startswith("native_batch_norm"):
            return
        target = args[0]
        views = (
            other is not target and other.untyped_storage().data_ptr() == target.untyped_storage().data_ptr()
            for other, _ in self._handles.values()
        )
        if not isinstance(arguments[0], Handle) or any(views):
            raise NotStreamableError(f"{self.path() or 'the network'} writes into a part of a tensor ({function})")


def _is_one_hot(function: Any, args: tuple[Any, ...], used: list[Handle]) -> bool:
    """Whether ones are put into a whole tensor of zeros where numbers say, as `functional.one_hot` does."""
    zeros = args[0]
    whole = isinstance(zeros, Tensor) and zeros.numel() * zeros.element_size() == zeros.untyped_storage().nbytes()
    return function.overloadpacket.__name__ == "scatter_" and whole and len(used) == 1 and not zeros.any()


def as_tuple(result: Any) -> tuple[Any, ...]:
    """The results of an operation that has one or several."""
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


@contextmanager
def _module_paths(module: nn.Module) -> Iterator[Callable[[], str]]:
    """Tells at any time which module is running."""
    running: list[str] = []

    def enter(path: str) -> Callable[..., None]:
        return lambda *_: running.append(path)

    def leave(*_: Any) -> None:
        running.pop()

    with ExitStack() as hooks:
        for path, part in module.named_modules():
            hooks.callback(part.register_forward_pre_hook(enter(path)).remove)
            hooks.callback(part.register_forward_hook(leave).remove)
        yield lambda: running[-1] if running else ""
