"""In a checkout, the folder `export` by the name that it has in the wheel. The wheel has the folder in this place."""

from pathlib import Path

__path__ = [str(Path(__file__).parents[2] / "export")]
