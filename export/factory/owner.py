"""The owner's function and the module that it returns: built, loaded with the file's weights, kept from changing."""

from __future__ import annotations

import contextlib
import importlib
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from tui_gen.errors import TuiGenError

from ..checkpoints.checkpoint import Checkpoint, ModuleFacts

_LONGEST_LIST = 4096
"""Entries of a list that an attribute may have to count as a plain value."""
_ASSIGNMENTS = {"__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "__iand__", "__ior__"}
_OTHERS = (Path(__file__).parents[1], Path(torch.__file__).parents[1], Path(sysconfig.get_path("stdlib")))
"""Where code lies that is not the owner's: ours, what is installed, and Python's."""

_MACHINERY = vars(nn.Module()).keys() - {"_parameters", "_buffers", "_modules"}
"""Attributes of PyTorch's own, such as hooks, which whoever traces a network sets."""


def build_module(factory: str, checkpoint: Checkpoint | None) -> nn.Module:
    """The module that `package.module:function` returns, in eval mode, with the weights of the file if there is one.

    Raises TuiGenError, in one line, for whatever goes wrong in the owner's code.
    """
    module = bare_module(_run_factory(factory))
    if isinstance(module, torch.jit.ScriptModule):
        raise TuiGenError(f"{factory} returns a program of TorchScript; let it return the module that it was made from")
    if checkpoint is not None and checkpoint.tensors:
        _load(module, checkpoint.tensors)
    for name, tensor in module.named_parameters():
        if is_lazy(tensor):
            raise TuiGenError(
                f"{factory} returns a module whose {name} has no size before its first call: call it there"
            )
        if tensor.is_meta:
            raise TuiGenError(f"{factory} returns a module whose {name} has no numbers; build it on the CPU")
    module.cpu().float().eval().requires_grad_(False)
    for part in module.modules():
        for name, value in vars(part).items():
            if isinstance(value, Tensor):  # such as the product of a weight norm, which nothing could copy
                vars(part)[name] = value.detach()
    return module


def bare_module(module: nn.Module) -> nn.Module:
    """What compilers and the use of many devices are wrapped around."""
    is_parallel = isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel))
    inner = module.module if is_parallel else getattr(module, "_orig_mod", None)
    return bare_module(inner) if isinstance(inner, nn.Module) else module


def fault_line(error: BaseException) -> str:
    """What the owner's code raised and where in it, in one line."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    words = f"{type(error).__name__}: {lines[0]:.200}" if lines else type(error).__name__
    asks_for_gpu = any(name in words.lower() for name in ("cuda", "nvidia"))
    return words + fault_place(error) + (", which asks for a GPU: let it build and run on the CPU" * asks_for_gpu)


def fault_place(error: BaseException) -> str:
    """File and line of the owner's code that came last; empty if none had a part in it."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_owners(frame.filename)]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _is_owners(filename: str) -> bool:
    """Whether code is neither ours, nor Python's, nor installed."""
    return not filename.startswith("<") and not any(Path(filename).is_relative_to(folder) for folder in _OTHERS)


@contextlib.contextmanager
def owners_prints() -> Iterator[None]:
    """What the owner's code prints is no result of ours: it goes to stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _run_factory(factory: str) -> nn.Module:
    module_name, colon, function = factory.partition(":")
    if not (module_name and colon and function):
        raise TuiGenError(f"--factory takes package.module:function, not {factory!r}")
    if module_name.endswith(".py"):
        module = ".".join(Path(module_name).with_suffix("").parts)
        raise TuiGenError(f"--factory takes a module's name, not that of its file: --factory {module}:{function}")
    with _working_directory_importable(), owners_prints():
        try:
            module = getattr(importlib.import_module(module_name), function)()
        except (Exception, SystemExit) as error:  # whatever the owner's code raises
            is_lost = isinstance(error, ModuleNotFoundError) and module_name.partition(".")[0] == error.name
            where = f"; it is looked for in the folder where you are, {Path.cwd()}, and among what is installed"
            raise TuiGenError(f"{factory} failed: {fault_line(error)}{where if is_lost else ''}") from error
    if not isinstance(module, nn.Module):
        raise TuiGenError(f"{factory} must return a torch.nn.Module, not {type(module).__name__}")
    torch.set_default_dtype(torch.float32)
    return module


@contextlib.contextmanager
def _working_directory_importable() -> Iterator[None]:
    """Also afterwards, for modules that are imported when the network runs."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    yield


def _load(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Puts the file's weights into the module, whose names may have a prefix that was stripped from the file's."""
    names = set(module.state_dict())
    prefixes = ["", *sorted({name.partition(".")[0] + "." for name in names})]
    states = ({prefix + name: tensor for name, tensor in tensors.items()} for prefix in prefixes)
    state = next((state for state in states if names == set(state)), None)
    if state is None:
        lacking, unknown = sorted(names - set(tensors)), sorted(set(tensors) - names)
        differences = [
            f"{what} {len(names)} of {whose} tensors, such as {names[0]}"
            for what, whose, names in (("lacks", "the module's", lacking), ("is alone with", "its", unknown))
            if names
        ]
        raise TuiGenError(f"the file's weights are of another network: it {' and '.join(differences)}")
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).strip().splitlines()
        raise TuiGenError(f"the file's weights do not fit the module: {lines[-1].strip()}") from None


def checkpoint_of(module: nn.Module, checkpoint: Checkpoint | None) -> Checkpoint:
    """The module as a checkpoint that holds it whole: its tensors, and the plain attributes of all its parts.

    checkpoint: the file that its weights come from, whose other values are kept.
    """
    base = checkpoint or Checkpoint("the module that --factory returns", {})
    modules = {
        path: ModuleFacts(f"{type(part).__module__}.{type(part).__qualname__}", _plain_attributes(part))
        for path, part in module.named_modules(remove_duplicate=False)
    }
    return replace(base, tensors=module.state_dict(), modules=modules)


def _plain_attributes(part: nn.Module) -> Mapping[str, Any]:
    return {name: value for name, value in vars(part).items() if not name.startswith("_") and _is_plain(value)}


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return len(value) <= _LONGEST_LIST and all(map(_is_plain, (*value, *value.values())))
    if isinstance(value, (list, tuple)):
        return len(value) <= _LONGEST_LIST and all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


class Unchanged(TorchFunctionMode):
    """While it lasts, a module's tensors and attributes stay as they are, whatever its forward does to them.

    Most masked convolutions multiply their own weights by a mask whenever they run (`self.weight.data *= self.mask`):
    after a first run that changes nothing, but stands in the way of whoever traces the network. Others remember
    things in attributes, such as a tensor of the size of the first batch.

    writes: whether it may write into its tensors, as in a first run; its attributes are put back all the same.
    """

    def __init__(self, module: nn.Module, *, writes: bool = False) -> None:
        super().__init__()
        self.calls = 0
        """Of functions of PyTorch's: how far the forward came."""
        self._writes = writes
        self._parts = list(module.modules())
        held = (value for part in self._parts for value in vars(part).values() if isinstance(value, Tensor))
        tensors = [*module.parameters(), *module.buffers(), *held]
        self._storages = {_storage(tensor) for tensor in tensors}
        self._attributes = [_attributes(part) for part in self._parts]

    def __exit__(self, *fault: Any) -> None:
        super().__exit__(*fault)  # type: ignore[no-untyped-call]
        for part, attributes in zip(self._parts, self._attributes, strict=True):
            for name in vars(part).keys() - attributes.keys() - _MACHINERY:
                del vars(part)[name]
            vars(part).update(attributes)

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.calls += 1
        if self._writes:
            return function(*args, **(kwargs or {}))
        name, of_data = getattr(function, "__name__", ""), getattr(function, "__self__", None) is Tensor.data
        if of_data and name == "__get__":
            return args[0].detach()
        in_place = name in _ASSIGNMENTS or (name.endswith("_") and not name.endswith("__"))
        if (in_place or (of_data and name == "__set__")) and args and self._is_own(args[0]):
            return args[0]
        return function(*args, **(kwargs or {}))

    def _is_own(self, value: object) -> bool:
        return isinstance(value, Tensor) and _storage(value) in self._storages


def _storage(tensor: Tensor) -> int:
    """Of a tensor whose values are not there yet, too."""
    return int(tensor.untyped_storage()._cdata)


def _attributes(part: nn.Module) -> dict[str, object]:
    """With dicts, such as those of parameters and of parts, as they are now."""
    items = ((name, value) for name, value in vars(part).items() if name not in _MACHINERY)
    return {name: value.copy() if isinstance(value, (dict, list, set)) else value for name, value in items}
