"""Where ``detect@<name>`` and ``ood@<entry>`` write."""

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
    """``fitted``: for the scores of other views; ``inside``: scores of the run's own; ``served``: for the export."""

    fitted: Path
    inside: Path
    served: Path


@contextmanager
def fresh_outs(workspace: Workspace, name: str) -> Iterator[Outs]:
    """New folders, which take the places of the old ones when the block ends well."""
    outputs = workspace.folder / "outputs"
    places = outputs / "detect" / name / "fitted", outputs / "ood" / name / "inside", outputs / "detect" / name / "served"
    with ExitStack() as stack:
        yield Outs(*[stack.enter_context(fresh_folder(place)) for place in places])


def clear(workspace: Workspace, name: str) -> None:
    """Remove the scores of views that have left params.yaml.

    The stage ``ood_table`` depends on the folder that holds them, whose hash must not depend on the past: it is called before
    that stage starts.
    """
    folder = workspace.folder / "outputs" / "ood" / name
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in {"inside", *workspace.ood(name)}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
