"""A terminal playground for autoregressive neural networks.

The names in `__all__` are the Python interface. Each is loaded when it is first used, so that importing the package
loads neither NumPy nor onnxruntime.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui_gen.card import ModelCard
    from tui_gen.errors import TuiGenError
    from tui_gen.generation.generate import generate
    from tui_gen.inspection.inside import look
    from tui_gen.library import LoadedModel, find_models, open_model
    from tui_gen.runtime.model import Model
    from tui_gen.sampling.params import FREE, SamplingParams
    from tui_gen.sampling.step import Step
    from tui_gen.scoring.score import score_given as score
    from tui_gen.training_run import publish

__all__ = [
    "FREE",
    "LoadedModel",
    "Model",
    "ModelCard",
    "SamplingParams",
    "Step",
    "TuiGenError",
    "find_models",
    "generate",
    "look",
    "open_model",
    "publish",
    "score",
]
__version__ = "0.2.0"

_HOMES = {
    "FREE": "sampling.params.FREE",
    "LoadedModel": "library.LoadedModel",
    "Model": "runtime.model.Model",
    "ModelCard": "card.ModelCard",
    "SamplingParams": "sampling.params.SamplingParams",
    "Step": "sampling.step.Step",
    "TuiGenError": "errors.TuiGenError",
    "find_models": "library.find_models",
    "generate": "generation.generate.generate",
    "look": "inspection.inside.look",
    "open_model": "library.open_model",
    "publish": "training_run.publish",
    "score": "scoring.score.score_given",
}
"""Where each public name is defined."""

# onnxruntime sends telemetry unless this is set before its first import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

if not TYPE_CHECKING:  # a type checker would take every name for one of the module's

    def __getattr__(name: str) -> object:
        """Loads a public name (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, _, attribute = _HOMES[name].rpartition(".")
        globals()[name] = value = getattr(import_module(f"{__name__}.{module}"), attribute)
        return value

    def __dir__() -> list[str]:
        """All names, also those that are not loaded yet."""
        return sorted({*globals(), *__all__})
