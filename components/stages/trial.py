"""``python -m components.stages.trial FOLDER RUN KEY MARK``: train a run and print every point of its curves.

One line of JSON per point, after MARK. It resumes its checkpoints, whose key is KEY, and writes one after SIGTERM. For sweeps:
nothing is recorded in dvc.lock or MLflow.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from components.command import run_command
from components.core.settings import Workspace


@contextmanager
def printed(mark: str, *_: Any, **__: Any) -> Iterator[Any]:
    """Observe the training: print each point of its curves."""

    def log(step: int, point: Mapping[str, float]) -> None:
        # On a line of its own: a progress bar ends without one, and both go into one pipe.
        print(f"\n{mark}{json.dumps({'step': step, **point})}", flush=True)

    yield log


def main() -> None:
    """Train the run."""
    from components.stages.train import stage

    folder, run, key, mark = sys.argv[1:]
    stage.run(Workspace(folder), run, observe=partial(printed, mark), inputs=key)


if __name__ == "__main__":
    run_command(main)
