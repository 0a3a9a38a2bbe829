"""Windows of a token grid (Liu et al. 2021, arXiv 2103.14030, section 3.2). Sizes are (rows, columns), in tokens.

A grid that the windows do not divide is padded at the bottom and on the right; a padded token attends to itself alone, and
nothing attends to it. A grid smaller than a window shrinks the window, and is then not shifted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]


@dataclass(frozen=True)
class Windows:
    """Windows of ``size`` on ``grid``, displaced by ``shift`` to the bottom and right, wrapped around at the borders."""

    grid: Size
    size: Size
    shift: Size

    @classmethod
    def of(cls, grid: Size, window: int, *, shifted: bool) -> Windows:
        """Fit square windows of side ``window`` to ``grid``; ``shifted``: by half a window where there are several."""
        rows, columns = (min(window, side) for side in grid)
        shift = [side // 2 if shifted and side < whole else 0 for side, whole in zip((rows, columns), grid, strict=True)]
        return cls(grid, (rows, columns), (shift[0], shift[1]))

    @property
    def counts(self) -> Size:
        """Number of windows: (down, across)."""
        return math.ceil(self.grid[0] / self.size[0]), math.ceil(self.grid[1] / self.size[1])

    @property
    def padding(self) -> Size:
        """Number of padded (rows, columns)."""
        return self.counts[0] * self.size[0] - self.grid[0], self.counts[1] * self.size[1] - self.grid[1]

    def split(self, x: Tensor) -> Tensor:
        """[N, rows * columns, D] -> [N, windows * T, D]: window by window, each with T tokens row by row."""
        below, right = self.padding
        x = F.pad(x.unflatten(1, self.grid), (0, 0, 0, right, 0, below))  # [N, padded rows, padded columns, D]
        if any(self.shift):
            x = x.roll((-self.shift[0], -self.shift[1]), (1, 2))
        x = x.unflatten(2, (self.counts[1], self.size[1])).unflatten(1, (self.counts[0], self.size[0]))
        return x.transpose(2, 3).flatten(1, 4)  # from [N, down, across, rows, columns, D]

    def join(self, x: Tensor) -> Tensor:
        """Undo ``split``: [N, windows * T, D] -> [N, rows * columns, D]."""
        x = x.unflatten(1, (*self.counts, *self.size)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        if any(self.shift):
            x = x.roll(self.shift, (1, 2))
        return x[:, : self.grid[0], : self.grid[1]].flatten(1, 2)

    def mask(self) -> Tensor | None:
        """Return what is added to attention scores: 0 for pairs that may attend, else -inf: float32 [windows, T, T].

        Pairs may attend if they are neighbours in the image too: a window at the border holds wrapped tokens, up to four
        regions of the image. None if all pairs of all windows may attend.
        """
        if not any(self.shift) and not any(self.padding):
            return None
        rows, columns = (self._places(axis) for axis in (0, 1))
        wrapped = 2 * (rows < self.shift[0]).int()[:, None] + (columns < self.shift[1]).int()  # the region of each token
        real = (rows < self.grid[0])[:, None] & (columns < self.grid[1])
        region, real = self._by_window(wrapped), self._by_window(real)  # [windows, T]
        allowed = (region[:, :, None] == region[:, None, :]) & real[:, None, :]
        allowed = allowed | torch.eye(region.shape[1], dtype=torch.bool)
        return torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf)

    def _places(self, axis: int) -> Tensor:
        """Padded row or column of the image that stands at each place after the shift."""
        side = self.counts[axis] * self.size[axis]
        return (torch.arange(side) + self.shift[axis]) % side

    def _by_window(self, plane: Tensor) -> Tensor:
        """[padded rows, padded columns] -> [windows, T]."""
        parts = plane.unflatten(1, (self.counts[1], self.size[1])).unflatten(0, (self.counts[0], self.size[0]))
        return parts.transpose(1, 2).flatten(2, 3).flatten(0, 1)


def offset_index(size: Size) -> Tensor:
    """Place of each pair's offset, query - key, in a table [2 rows - 1, 2 columns - 1] read row by row: int64 [T, T]."""
    rows, columns = torch.arange(size[0]), torch.arange(size[1])
    down = (rows[:, None] - rows + size[0] - 1)[:, None, :, None]  # [rows, 1, rows, 1]
    across = (columns[:, None] - columns + size[1] - 1)[None, :, None, :]  # [1, columns, 1, columns]
    return (down * (2 * size[1] - 1) + across).flatten(2, 3).flatten(0, 1)
