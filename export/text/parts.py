"""What a recurrent language model is a chain of."""

from __future__ import annotations

from export.text.combined import Combined
from export.text.maps import BatchNorm, LayerNorm, Linear
from export.text.recurrence import Recurrence

Map = Linear | LayerNorm | BatchNorm
"""Knows one moment only."""
Layer = Recurrence | Combined
"""Remembers."""
Part = Map | Layer
