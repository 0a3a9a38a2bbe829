"""Training curves: means of a step's scalars between two log points and over the processes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from components.core.step import gather, processes


class Curves:
    """Accumulate scalars without synchronising the device; ``close`` adds a point."""

    def __init__(self) -> None:
        self.points: list[dict[str, float]] = []
        self.selected: int | None = None  # the update after which the saved weights were measured, if they were selected
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        """Add one step's scalars."""
        for name, scalar in scalars.items():
            value = scalar.detach().double()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def close(self, step: int, **extra: float) -> dict[str, float]:
        """Add the means since the last point as the point after ``step`` updates; return it, the same on every process."""
        means = {name: float(sums.mean()) / self._counts[name] for name, sums in self._by_rank().items()}
        self._sums, self._counts = {}, {}
        point = {**means, **extra}
        self.points.append({"step": step, **point})
        return point

    def add_point(self, step: int, figures: Mapping[str, float]) -> None:
        """Add figures measured after ``step`` updates as a point of their own; the open point stays open."""
        self.points.append({"step": step, **figures})

    def outcome(self, steps: int) -> dict[str, int]:
        """Return what the training resolved: the update whose weights are saved, and the one at which it stopped early."""
        done = int(self.points[-1]["step"]) if self.points else steps
        selected = {} if self.selected is None else {"selected_step": self.selected}
        return selected | ({"stopped_at": done} if done < steps else {})

    def to_csv(self) -> bytes:
        """Format the points as CSV: step, then every scalar by name; a cell is empty if the scalar was not logged."""
        names = sorted({name for point in self.points for name in point} - {"step"})
        text = io.StringIO()
        writer = csv.DictWriter(text, ["step", *names], lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in point.items()} for point in self.points)
        return text.getvalue().encode()

    def state_dict(self) -> dict[str, Any]:
        """Return the points and every process's sums of the open point. All processes must call it."""
        return {"points": self.points, "sums": self._by_rank(), "counts": self._counts}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restore the curves from ``state_dict``."""
        rank, _ = processes()
        self.points = [dict(point) for point in state["points"]]
        self._sums = {name: sums[rank].to(device) for name, sums in state["sums"].items()}
        self._counts = dict(state["counts"])

    def _by_rank(self) -> dict[str, Tensor]:
        """Gather name -> float64 [processes], the sum of each process."""
        if not self._sums:
            return {}
        names = sorted(self._sums)
        sums = gather(torch.stack([self._sums[name] for name in names])[None])  # [processes, names]
        return {name: sums[:, column].clone() for column, name in enumerate(names)}


def _cell(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.8g}"
