"""``python probe.py RUN STEPS OUT``: run the first steps of a training with the code on PYTHONPATH, and write its state to OUT.

Works with the code of any commit, even if its training loop is in another module. Patches nothing that affects the result: a
simulated SIGTERM after the last step, a checkpoint written to OUT, and no curves sent to a server.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

LOOPS = ("components.stages.train.loop", "components.train.loop")
STAGES = ("components.stages.train.stage", "components.stages.train.__main__", "components.train.__main__")


def first(names: tuple[str, ...]) -> Any:
    """Import the first module that exists."""
    for name in names:
        with suppress(ModuleNotFoundError):
            return importlib.import_module(name)
    raise SystemExit(f"no training loop of a known place: {', '.join(names)}")


def main() -> None:
    """Patch the training and run it."""
    run, steps, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    loop, stage = first(LOOPS), first(STAGES)
    loop.termination = lambda: stop_after(min(steps, steps_of(run)))
    stage.Checkpoints = lambda *_: SingleFile(out)
    stage.fingerprint = lambda *_, **__: "probe"
    stage.live_curves = lambda *_, **__: nullcontext(lambda step, point: None)
    launch = stage.launch
    stage.launch = lambda command, processes: launch([__file__, *sys.argv[1:]], processes)
    with suppress(loop.Stopped):
        train(stage, run)


def train(stage: Any, run: str) -> None:
    """Call the stage by the interface of its commit."""
    if hasattr(stage, "run"):
        from components.core.settings import Workspace

        # Without a hash of its inputs a training writes no checkpoint.
        options = {"inputs": "probe"} if "inputs" in inspect.signature(stage.run).parameters else {}
        stage.run(Workspace(), run, **options)
    else:
        sys.argv = ["train", run]
        stage.main()


def steps_of(run: str) -> int:
    """Read the number of training steps from params.yaml."""
    from ruamel.yaml import YAML

    params = YAML(typ="safe", pure=True).load(Path("params.yaml").read_text(encoding="utf-8"))
    return int(params["runs"][run]["train"]["steps"])


@contextmanager
def stop_after(steps: int) -> Iterator[Callable[[], bool]]:
    """Replace the loop's ``termination``, which is called once per step: return True at the last one."""
    calls = iter(range(1, steps + 1))
    yield lambda: next(calls) == steps


class SingleFile:
    """Replace the checkpoints: never resume, save to one file."""

    def __init__(self, out: Path):
        self.out = out

    def latest(self) -> None:
        return None

    def save(self, step: int, state: Any) -> None:
        import torch

        torch.save({"step": step, "state": state}, self.out)


if __name__ == "__main__":
    main()
