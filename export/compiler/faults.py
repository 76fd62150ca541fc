"""Why a network has no streaming form."""

from __future__ import annotations

from tui_gen.errors import TuiGenError


class NotStreamableError(TuiGenError):
    """The network cannot become a one-pixel step; the message says what stands in the way."""


class LooksAheadError(NotStreamableError):
    """It looks at pixels that are not drawn yet; or, being causal, further sideways than the image is wide."""
