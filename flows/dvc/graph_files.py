"""A study's dvc.yaml: a copy of the root's, byte for byte.

Not a symbolic link: DVC does not follow links in a Git revision, so that `dvc params diff`, `metrics diff` and `exp show` would
have nothing on the revision's side.
"""

from __future__ import annotations

from pathlib import Path

from components.core.config.strict import SettingsError
from components.core.files import write_atomically
from components.core.settings import PARAMS
from flows.project import Project

GRAPH = "dvc.yaml"
COMMAND = "python -m flows graph"


def differing(root: Path) -> list[Path]:
    """Return the studies' dvc.yaml that are missing, are links, or differ from the root's."""
    content = (root / GRAPH).read_bytes()
    return [path for path in _graphs(root) if not _same(path, content)]


def write(root: Path) -> list[Path]:
    """Copy the root's dvc.yaml into every study whose copy differs; return the files written."""
    content = (root / GRAPH).read_bytes()
    paths = differing(root)
    for path in paths:
        write_atomically(path, content)  # replaces a link instead of writing through it
    return paths


def check(project: Project) -> None:
    """Raise SettingsError if the study's dvc.yaml differs from the root's."""
    path = project.folder / GRAPH
    root = project.root / GRAPH
    if project.study is not None and root.is_file() and not _same(path, root.read_bytes()):
        raise SettingsError(f"{path} differs from the root's {GRAPH}; `{COMMAND}` writes it")


def _graphs(root: Path) -> list[Path]:
    return sorted(params.with_name(GRAPH) for params in root.glob(f"experiments/*/{PARAMS}"))


def _same(path: Path, content: bytes) -> bool:
    return path.is_file() and not path.is_symlink() and path.read_bytes() == content
