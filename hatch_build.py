"""What a package page shows of README, and where it links to: both follow from the project's address.

The address stands in `pyproject.toml`, in one place. While it is empty, a page has no links that lead nowhere.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_TARGET = r"\((?!\w+:|#)"
"""Of a link to a file of this project."""


class AddressHook(MetadataHookInterface):
    """Takes `address`, of a project on GitHub."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Adds readme and links."""
        address, tag = self.config["address"].rstrip("/"), f"v{metadata['version']}"
        text = with_address((Path(self.root) / "README.md").read_text(encoding="utf-8"), address, tag)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = links(address, tag)


def links(address: str, tag: str) -> dict[str, str]:
    """What a package page has in its margin; nothing without an address."""
    if not address:
        return {}
    return {
        "Source": address,
        "Documentation": f"{address}/tree/{tag}/docs",
        "Changelog": f"{address}/blob/{tag}/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }


def with_address(readme: str, address: str, tag: str) -> str:
    """With absolute addresses of images and pages; without an address, no images, and words in place of links."""
    if not address:
        readme = re.sub(rf"^!\[.*\]{_TARGET}.*\)\n", "", readme, flags=re.MULTILINE)
        return re.sub(rf"\[([^\]]*)\]{_TARGET}[^)]*\)", r"\1", readme)
    readme = re.sub(rf"(!\[[^\]]*\]){_TARGET}", rf"\1({address}/raw/{tag}/", readme)
    return re.sub(rf"((?<!!)\[[^\]]*\]){_TARGET}", rf"\1({address}/blob/{tag}/", readme)
