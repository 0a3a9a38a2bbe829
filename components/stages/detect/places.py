"""Where ``detect@<name>`` writes."""

from __future__ import annotations

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
