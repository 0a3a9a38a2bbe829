"""Linked artifacts: another run's export, a view, or a file of weights, as a recipe receives them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.files import write_atomically
from components.core.settings import Workspace

if TYPE_CHECKING:
    from components.core.weights.reading import Weights


@dataclass(frozen=True)
class Artifact:
    """A linked file or folder; ``md5``: of its content when the link was written."""

    path: Path
    md5: str

    @classmethod
    def follow(cls, pointer: Path, workspace: Path) -> Artifact:
        """Resolve a pointer file. FileNotFoundError if its target does not exist."""
        fields = json.loads(pointer.read_text(encoding="utf-8"))
        path = workspace / fields["path"]
        if not path.exists():
            linked = fields["path"]
            raise FileNotFoundError(f"{pointer.name}: the linked {linked} is not here; `dvc pull {linked}` brings it")
        return cls(path=path, md5=fields["md5"])

    def is_view(self) -> bool:
        """Return whether the link points to a view."""
        return (self.path / "view.json").is_file()

    @property
    def weights_file(self) -> Path:
        """The file itself; of a run's folder its ``weights.pt``. ValueError for a folder without one."""
        if not self.path.is_dir():
            return self.path
        if not (self.path / "weights.pt").is_file():
            raise ValueError(f"{self.path}: a folder without weights.pt; name the file of weights in it")
        return self.path / "weights.pt"

    def state_dict(self) -> dict[str, Any]:
        """Load the weights by name as they are in the file, out of their container: a run's own ``weights.pt``."""
        from components.core.weights.reading import load_file, unwrapped

        return unwrapped(load_file(self.weights_file))[0]

    def weights(self) -> Weights:
        """Read weights from elsewhere: clean names, finite tensors, the names of their classes."""
        from components.core.weights.reading import read_weights

        return read_weights(self.weights_file)


def write_pointer(pointer: Path, workspace: Path, path: str) -> str:
    """Write a pointer to ``path`` in the workspace with the MD5 of its current content, and return this MD5."""
    md5 = content_md5(workspace / path)
    pointer.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(pointer, (json.dumps({"path": path, "md5": md5}, sort_keys=True) + "\n").encode())
    return md5


def follow_links(workspace: Workspace, run: str, stage: str) -> dict[str, Artifact]:
    """Map each role to its artifact, for the run's links at ``stage``."""
    return {role: Artifact.follow(pointer, workspace.folder) for role, pointer in workspace.links(run, stage).items()}


def content_md5(path: Path) -> str:
    """Compute the MD5 of a file, or of a folder's sorted (relative name, MD5) lines."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    files = sorted(child for child in path.rglob("*") if child.is_file())
    lines = [f"{child.relative_to(path).as_posix()} {content_md5(child)}\n" for child in files]
    return hashlib.md5("".join(lines).encode(), usedforsecurity=False).hexdigest()
