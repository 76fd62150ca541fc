"""A copy of a network that is being trained, which can be converted while the training goes on as if nothing were."""

from __future__ import annotations

import contextlib
import random
from collections import OrderedDict
from collections.abc import Iterator
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tui_gen.errors import TuiGenError

from .factory.owner import bare_module

_HOOKS = {name for name in vars(nn.Module()) if name.endswith(("_hooks", "_hooks_with_kwargs", "_always_called"))}
_TORCH = "torch."
_CONTAINERS = (list, tuple, dict, set)


def copy_module(module: nn.Module) -> nn.Module:
    """The network within wrappers, on the CPU in float32 and eval mode, without gradients: nothing of it is shared
    with the module but what is neither a tensor, a module nor a plain value, such as a trainer or a logger.

    Hooks are left out but for PyTorch's own, such as those of a weight norm. Raises TuiGenError for a network that has
    no numbers to copy.
    """
    inner = bare_module(module)
    if isinstance(inner, torch.jit.ScriptModule):
        raise TuiGenError("it is a program of TorchScript; publish the module that it was made from")
    for name, tensor in inner.named_parameters():
        if is_lazy(tensor):
            raise TuiGenError(f"{name} has no size before the first call of the network")
        if tensor.is_meta or type(tensor.data) is not Tensor:
            raise TuiGenError(f"{name} is not whole in this process, as with FSDP: gather the weights first")
    return _Copies().of_module(inner).float().eval().requires_grad_(False)


class _Copies:
    """What was copied already, so that what is shared within the network is shared within its copy."""

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}

    def of_module(self, module: nn.Module) -> nn.Module:
        """Without a call of the class's own code."""
        if id(module) not in self._known:
            twin = self._known[id(module)] = object.__new__(type(module))
            twin.__dict__.update({name: self._of_attribute(name, value) for name, value in vars(module).items()})
        return self._known[id(module)]

    def _of_attribute(self, name: str, value: Any) -> Any:
        if name in _HOOKS:
            return OrderedDict((key, hook) for key, hook in value.items() if _is_of_torch(hook))
        return self.of(value)

    def of(self, value: Any) -> Any:
        """A copy of a tensor, a module, a plain value, or of a container of such; anything else as it is."""
        if isinstance(value, nn.Module):
            return self.of_module(value)
        if isinstance(value, Tensor):
            return self._of_tensor(value)
        if isinstance(value, MethodType) and isinstance(value.__self__, nn.Module):
            return MethodType(value.__func__, self.of_module(value.__self__))
        if type(value) in (dict, OrderedDict):
            return type(value)((key, self.of(each)) for key, each in value.items())
        if type(value) in _CONTAINERS:
            return type(value)(map(self.of, value))
        return value

    def _of_tensor(self, tensor: Tensor) -> Tensor:
        if id(tensor) not in self._known:
            numbers = tensor.detach().to("cpu", copy=True)
            twin = nn.Parameter(numbers, requires_grad=False) if isinstance(tensor, nn.Parameter) else numbers
            self._known[id(tensor)] = twin
        return self._known[id(tensor)]


def _is_of_torch(hook: object) -> bool:
    return type(hook).__module__.startswith(_TORCH)


@contextlib.contextmanager
def as_if_nothing_were() -> Iterator[None]:
    """Random states and settings of PyTorch that count for the whole process are afterwards as they were."""
    state, numbers, numpy_numbers = torch.default_generator.get_state(), random.getstate(), np.random.get_state()
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.set_default_dtype(default)
        torch.default_generator.set_state(state)
        random.setstate(numbers)
        np.random.set_state(numpy_numbers)


def is_first_process() -> bool:
    """Whether it is the one process of a parallel training that publishes: rank 0, or the only one."""
    parallel = torch.distributed
    return not (parallel.is_available() and parallel.is_initialized()) or parallel.get_rank() == 0
