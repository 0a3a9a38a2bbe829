"""Checkpoints: outside DVC's outs, keyed by what the training depends on, whole at every moment."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
from pathlib import Path
from typing import Any

import torch

from components.core.files import write_atomically

log = logging.getLogger(__name__)

KEEP = 2  # the newest, and one before it


def serialise(state: Any) -> bytes:
    """``state`` as a torch file, the same bytes wherever it is written: into a buffer, since torch.save notes a file's name."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def fingerprint(inputs: str, **conditions: Any) -> str:
    """A hash of all that the stage's result depends on: ``inputs``, a hash of what it started with, and ``conditions``."""
    content = {"inputs": inputs, "torch": torch.__version__, **conditions}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:32]


class Checkpoints:
    """The checkpoints of one training, in ``folder``: ``<step>.pt``."""

    def __init__(self, folder: Path):
        self.folder = folder

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the state after ``step`` updates. On a failure (a full disk) the earlier checkpoints stay whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            write_atomically(self.folder / f"{step:09d}.pt", serialise(state))
        except OSError as error:
            last = max(self._steps(), default=None)
            raise OSError(f"checkpoint at step {step} not written: {error}; the last whole one: step {last}") from error
        for old in self._steps()[:-KEEP]:
            (self.folder / f"{old:09d}.pt").unlink()

    def latest(self) -> tuple[int, dict[str, Any]] | None:
        """(step, state) of the newest checkpoint that can be read, or None."""
        for step in reversed(self._steps()):
            path = self.folder / f"{step:09d}.pt"
            try:
                return step, torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # whatever the reader meets in a file that a disk has damaged, or that is none of ours
                reason = " ".join(str(error).split())[:200]
                log.warning("%s is passed over, it cannot be read: %s: %s", path, type(error).__name__, reason)
        return None

    def _steps(self) -> list[int]:
        names = [path.stem for path in self.folder.glob("*.pt")] if self.folder.is_dir() else []
        return sorted(int(name) for name in names if re.fullmatch(r"\d{9}", name))
