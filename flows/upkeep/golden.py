"""Exports that answer their golden pictures differently than when they were made: other libraries, or damaged files."""

from __future__ import annotations

from collections.abc import Iterator

from flows.project import Project
from flows.upkeep.doctor import Finding


def golden_pictures(project: Project) -> Iterator[Finding]:
    """Play the golden pictures of every export here; exports without any are passed over."""
    for path in sorted((project.folder / "outputs" / "export").glob("*/golden.json")):
        from components.serving.golden import play
        from components.serving.loading import load_served

        run = path.parent.name
        remedy = f"`dvc repro -f export@{run}` exports it again, if Pillow or ONNX Runtime was changed by intention"
        try:
            differences = play(path.parent, load_served(path.parent))
        except Exception as error:  # shipped code may raise anything
            differences = [f"does not load: {type(error).__name__}: {' '.join(str(error).split())[:200]}"]
        for difference in differences:
            yield Finding(f"outputs/export/{run} answers otherwise than when it was made", difference, remedy)
