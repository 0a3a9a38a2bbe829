"""What tests of operations need: a project of its own with free ports, commands in it, waiting for processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from workbench import add_own, environment, free_ports, make_project, toy_params, write_params

from flows.processes import guarded

PATIENCE = 400.0  # seconds; a server on a busy machine may need a minute, a training two


def wait_for(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true answer of ``condition``."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.2)
    return found


def alive(folder: Path) -> list[str]:
    """Command lines of the processes whose state folder is that of the project."""
    found, mine = [], f"DARKROOM_WORK={folder}/.work".encode()
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and mine in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def params() -> dict[str, Any]:
    """The toy on digits, and a classifier of the user's own folder, which is served; nothing is scheduled."""
    found = add_own(toy_params(), metric="accuracy", floor=0.0)
    found["pipeline"] = {"runs": ["toy", "own"]}
    prefect, mlflow, own = free_ports(3)
    found["servers"] = {"prefect_port": prefect, "mlflow_port": mlflow, "scoring": {"own": own}}
    return found


class Home:
    """The project, and commands in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.params = params()
        make_project(folder, self.params)
        self.add_pictures(15, seed=0)

    def write(self, edit: Callable[[dict[str, Any]], None]) -> None:
        """Edit params.yaml."""
        edit(self.params)
        write_params(self.folder, self.params)

    def add_pictures(self, count: int, seed: int) -> None:
        """More of the user's images, ``count`` a class."""
        generator = np.random.default_rng(seed)
        for name in ("light", "dark"):
            (self.folder / "pictures" / name).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                pixels = generator.integers(0, 128, size=(20, 24, 3)) + 127 * (name == "light")
                Image.fromarray(pixels.astype(np.uint8)).save(self.folder / "pictures" / name / f"{seed}-{index}.png")

    def env(self, **extra: str) -> dict[str, str]:
        """For every process that works on it."""
        work = {"DARKROOM_WORK": str(self.folder / ".work"), "PYTHONPATH": str(self.folder), "DVC_NO_ANALYTICS": "1"}
        return environment(**work, DO_NOT_TRACK="true", PREFECT_SERVER_ANALYTICS_ENABLED="false", **extra)

    def flows(self, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """``python -m flows`` to its end."""
        command = [sys.executable, "-m", "flows", *words]
        return subprocess.run(
            command, cwd=self.folder, env=self.env(**extra), capture_output=True, text=True, check=False, timeout=400
        )

    def python(self, code: str, **extra: str) -> str:
        """What a program in it prints."""
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=self.folder, env=self.env(**extra), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def started(self, name: str, *command: str, **extra: str) -> Iterator[int]:
        """A command behind a process guard, its output in ``<name>.log``; the pid of the command itself."""
        with (self.folder / f"{name}.log").open("ab") as log:
            guard = subprocess.Popen(
                guarded(command, 10.0),
                cwd=self.folder,
                env=self.env(**extra),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        children = Path(f"/proc/{guard.pid}/task/{guard.pid}/children")
        try:
            yield int(wait_for(children.read_text, f"{name} to start").split()[0])
        finally:
            guard.terminate()
            guard.wait()

    def log(self, name: str) -> str:
        """The output of a command that ``started`` started."""
        return (self.folder / f"{name}.log").read_text(errors="replace")
