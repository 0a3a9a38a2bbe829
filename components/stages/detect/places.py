"""Output folders of ``detect@<name>`` and ``ood@<entry>``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.core.files import fresh_folder
from components.core.settings import Workspace


@dataclass(frozen=True)
class Outs:
    """Output folders. ``fitted``: the detectors; ``inside``: scores of the run's own view; ``served``: for the export."""

    fitted: Path
    inside: Path
    served: Path


@contextmanager
def fresh_outs(workspace: Workspace, name: str) -> Iterator[Outs]:
    """Yield new folders that replace the old ones when the block succeeds."""
    outputs = workspace.folder / "outputs"
    places = outputs / "detect" / name / "fitted", outputs / "ood" / name / "inside", outputs / "detect" / name / "served"
    with ExitStack() as stack:
        yield Outs(*[stack.enter_context(fresh_folder(place)) for place in places])


def clear(workspace: Workspace, name: str) -> None:
    """Remove the scores of views that are no longer in params.yaml; call it before the stage ``ood_table``.

    That stage depends on the whole folder, whose hash must not depend on the past.
    """
    folder = workspace.folder / "outputs" / "ood" / name
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in {"inside", *workspace.ood(name)}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
