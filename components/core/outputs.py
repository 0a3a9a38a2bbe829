"""The folder of results stays in its clone: nothing is written through a link that leads elsewhere."""

from __future__ import annotations

from pathlib import Path

from components.core.config.strict import SettingsError

OUTPUTS = "outputs"


def require_inside(outputs: Path, root: Path) -> None:
    """Check that ``outputs`` and the folders in it are no links that lead out of ``root``; SettingsError names the link.

    A stage empties its folder before it writes: through such a link it would delete the files of another clone.
    """
    inside = root.resolve()
    for path in (outputs, *(sorted(outputs.iterdir()) if outputs.is_dir() else ())):
        target = path.resolve()
        if path.is_symlink() and inside not in target.parents:
            raise SettingsError(
                f"{path}: a link to {target}, out of the clone; results are written in {inside} only: remove it"
            )
