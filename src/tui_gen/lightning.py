"""A callback of Lightning, which is imported here alone, that publishes the network while it is trained."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_gen.training_run import publish

if TYPE_CHECKING:
    Callback: Any = object
elif "lightning.pytorch" in sys.modules or "pytorch_lightning" not in sys.modules:
    try:
        from lightning.pytorch import Callback
    except ModuleNotFoundError:
        from pytorch_lightning import Callback
else:  # the one of two packages that the script has imported: each takes its own callbacks alone
    from pytorch_lightning import Callback


class Publish(Callback):  # type: ignore[misc]
    """Publishes after each validation, or after each epoch of a training without one."""

    def __init__(
        self,
        run: str | Path,
        *,
        network: str = "",
        train_loss: str = "train_loss",
        validation_loss: str = "val_loss",
        **options: Any,
    ) -> None:
        """network: the attribute of the Lightning module that is the network; empty: the module itself. train_loss,
        validation_loss: the names under which they are logged. options: as of `tui_gen.publish`.
        """
        super().__init__()
        self._run, self._network, self._options = run, network, options
        self._losses = {"train_loss": train_loss, "validation_loss": validation_loss}

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """After the validation of the epoch; its losses are those that were logged by then."""
        if not trainer.is_global_zero:
            return
        module = getattr(pl_module, self._network) if self._network else pl_module
        metrics = trainer.callback_metrics
        losses: dict[str, Any] = {key: float(metrics[name]) for key, name in self._losses.items() if name in metrics}
        publish(module, self._run, epoch=trainer.current_epoch + 1, **losses, **self._options)
