"""Checkpoints: outside DVC's outs, keyed by the inputs of the training, written atomically."""

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
    """Serialise ``state`` as a torch file, deterministically: to a buffer, since torch.save stores the name of a file."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def fingerprint(inputs: str, **conditions: Any) -> str:
    """Hash everything that the stage's result depends on: ``inputs``, a hash of its inputs, and ``conditions``."""
    content = {"inputs": inputs, "torch": torch.__version__, **conditions}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:32]


class Checkpoints:
    """Checkpoints of one training in ``folder``: ``<step>.pt``."""

    def __init__(self, folder: Path):
        self.folder = folder

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the state after ``step`` updates. On a failure (full disk) the earlier checkpoints remain valid."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            write_atomically(self.folder / f"{step:09d}.pt", serialise(state))
        except OSError as error:
            last = max(self._steps(), default=None)
            raise OSError(f"checkpoint at step {step} not written: {error}; the last whole one: step {last}") from error
        for old in self._steps()[:-KEEP]:
            (self.folder / f"{old:09d}.pt").unlink()

    def latest(self) -> tuple[int, dict[str, Any]] | None:
        """Load (step, state) of the newest readable checkpoint, or return None."""
        for step in reversed(self._steps()):
            path = self.folder / f"{step:09d}.pt"
            try:
                return step, torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # torch.load raises many types on damaged or foreign files
                reason = " ".join(str(error).split())[:200]
                log.warning("%s is passed over, it cannot be read: %s: %s", path, type(error).__name__, reason)
        return None

    def _steps(self) -> list[int]:
        names = [path.stem for path in self.folder.glob("*.pt")] if self.folder.is_dir() else []
        return sorted(int(name) for name in names if re.fullmatch(r"\d{9}", name))
