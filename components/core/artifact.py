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
    from torch import Tensor


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

    def state_dict(self) -> dict[str, Tensor]:
        """Load the weights by name from a torch file (weights only), safetensors or npz; from a run: its ``weights.pt``."""
        path = self.path / "weights.pt" if self.path.is_dir() else self.path
        loaded = _LOADERS.get(path.suffix, _load_unknown)(path)
        # The containers that published checkpoints wrap their weights in.
        for key in ("state", "state_dict", "model"):
            if isinstance(loaded.get(key), dict):
                loaded = loaded[key]
        return loaded


def _load_torch(path: Path) -> dict[str, Any]:
    import torch

    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch.load raises many types on foreign files
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path}: not a torch file that holds weights only ({reason})") from None


def _load_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from None


def _load_npz(path: Path) -> dict[str, Any]:
    import zipfile

    import numpy as np
    import torch

    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in arrays.files}
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, TypeError) as error:  # ValueError: it would be unpickled
        raise ValueError(f"{path}: not an npz file ({error})") from None


def _load_unknown(path: Path) -> dict[str, Any]:
    readable = ", ".join(sorted(_LOADERS))
    raise ValueError(f"{path}: weights are read from {readable}; other formats hold pickled code and are not opened")


_LOADERS = {
    ".pt": _load_torch,
    ".pth": _load_torch,
    ".ckpt": _load_torch,
    ".bin": _load_torch,
    ".safetensors": _load_safetensors,
    ".npz": _load_npz,
}


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
