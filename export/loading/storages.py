"""What the pickles of torch say about storages, the numbers that stand outside of them."""

from __future__ import annotations

from typing import Any

import torch

from export.loading.known_torch import STORAGES
from export.loading.stubs import Global
from tui_gen.errors import TuiGenError

BIG_ENDIAN = "was written on a big-endian machine; save it anew on an ordinary one"


def storage_facts(pid: Any) -> tuple[torch.dtype, str]:
    """Number type and key of a storage, from ('storage', type, key, location, count, ...)."""
    if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage" and isinstance(pid[1], Global)):
        raise TuiGenError("its storages are damaged")
    dtype = STORAGES.get(pid[1].name.rpartition(".")[2].removesuffix("Storage"))
    if dtype is None:
        raise TuiGenError(f"it has numbers of a type that is not known ({pid[1].name})")
    if not isinstance(pid[2], (str, int)):
        raise TuiGenError("its storages are damaged")
    return dtype, str(pid[2])
