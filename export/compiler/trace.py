"""Running a network once and writing down which tensor operations it made of its image and its condition."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from export.compiler.ir import NotStreamableError

_FORGETFUL = {"zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty"}
"""Operations whose result depends on nothing but the shape of their operand."""


@dataclass(frozen=True, eq=False)
class Traced:
    """A tensor that depends on the image or on the condition."""

    shape: tuple[int, ...]
    of_image: bool
    """Whether it depends on the image; otherwise on the condition alone."""


@dataclass(frozen=True, eq=False)
class Call:
    """An operation of ATen. Among its arguments, `Traced` stands for tensors that are not constant."""

    function: Any
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    results: tuple[Traced | None, ...]
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

    image: Traced
    condition: Traced | None
    calls: tuple[Call, ...]
    output: Traced
    names: dict[int, str]
    """Parameters that constants among the arguments are views of, by the constant's id."""


def trace(module: nn.Module, planes: Tensor, condition: Tensor | None) -> Trace:
    """Runs module(planes[, condition]), both with batch `BATCH`. Raises NotStreamableError if it hides what it does."""
    recorder = _Recorder(module)
    image = recorder.follow(planes, of_image=True)
    named = None if condition is None else recorder.follow(condition, of_image=False)
    with torch.no_grad(), _module_paths(module) as path, recorder:
        recorder.path = path
        output = module(planes) if condition is None else module(planes, condition)
    made = recorder.traced(output)
    if made is None or not made.of_image:
        raise NotStreamableError("the network's output does not depend on its image")
    return Trace(image, named, tuple(recorder.calls), made, recorder.names)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: dict[int, str] = {}
        self._parameters = {tensor.untyped_storage().data_ptr(): name for name, tensor in module.state_dict().items()}
        self.calls: list[Call] = []
        self.path: Callable[[], str] = str
        self._traced: dict[int, tuple[Tensor, Traced]] = {}  # keeps the tensors, so that no id is used twice

    def follow(self, tensor: Tensor, *, of_image: bool) -> Traced:
        traced = Traced(tuple(tensor.shape), of_image)
        self._traced[id(tensor)] = (tensor, traced)
        return traced

    def traced(self, value: Any) -> Traced | None:
        return self._traced[id(value)][1] if id(value) in self._traced else None

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        arguments, options = tree_map(self._known, args), tree_map(self._known, kwargs or {})
        used = [leaf for leaf in tree_leaves((arguments, options)) if isinstance(leaf, Traced)]
        if used and not _is_one_hot(function, args, used):
            self._refuse_hidden_writes(function, args, arguments)
        result = function(*args, **(kwargs or {}))
        if used and function.overloadpacket.__name__ not in _FORGETFUL:
            of_image = any(leaf.of_image for leaf in used)
            results = result if isinstance(result, (tuple, list)) else (result,)
            traced = tuple(self.follow(r, of_image=of_image) if isinstance(r, Tensor) else None for r in results)
            self.calls.append(Call(function, arguments, options, traced, self.path()))
        return result

    def _known(self, value: Any) -> Any:
        """The handle of a traced tensor; of any other tensor its value now, for it may be changed in place."""
        if not isinstance(value, Tensor):
            return value
        return self.traced(value) or self._copied(value)

    def _copied(self, constant: Tensor) -> Tensor:
        copy = constant.detach().clone()
        name = self._parameters.get(constant.untyped_storage().data_ptr())
        if name:
            self.names[id(copy)] = name
        return copy

    def _refuse_hidden_writes(self, function: Any, args: tuple[Any, ...], arguments: tuple[Any, ...]) -> None:
        """Writing into a part of a tensor changes the whole, which the record would not show."""
        if not function._schema.is_mutable or function.overloadpacket.__name__.startswith("native_batch_norm"):
            return
        target, known = args[0], arguments[0]
        shared = (
            other is not target and isinstance(known, Traced) and _same_memory(other, target)
            for other, _ in self._traced.values()
        )
        if not isinstance(known, Traced) or any(shared):
            raise NotStreamableError(f"{self.path() or 'the network'} writes into a part of a tensor ({function})")


def _is_one_hot(function: Any, args: tuple[Any, ...], used: list[Traced]) -> bool:
    """Whether ones are put into a whole tensor of zeros where a condition says, as `functional.one_hot` does."""
    zeros = args[0]
    fresh = isinstance(zeros, Tensor) and zeros.numel() * zeros.element_size() == zeros.untyped_storage().nbytes()
    of_condition = not any(leaf.of_image for leaf in used)
    return function.overloadpacket.__name__ == "scatter_" and fresh and of_condition and not zeros.any()


def _same_memory(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


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
