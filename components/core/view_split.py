"""A split with what stands beside its batches: every column, every caption, and the other splits of its view."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from components.core.batch import Split


@dataclass(frozen=True)
class ViewSplit(Split):
    """A split as the evaluate stage opens it. ``batches`` have one caption per image, and no further columns.

    ``columns``: column -> int64 [N]; ``texts``: the caption, or the captions, of each image, empty for a view without;
    ``other``: opens another split of the same view by its name, with images as here; ValueError if there is none.
    """

    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    texts: Sequence[str | Sequence[str]] = ()
    other: Callable[[str], ViewSplit] | None = None

    def captions(self) -> list[list[str]]:
        """Return all captions of each image."""
        return [[text] if isinstance(text, str) else list(text) for text in self.texts]
