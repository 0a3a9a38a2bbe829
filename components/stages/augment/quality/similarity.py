"""Thumbnails of a dataset's pictures and their near-duplicates."""

from __future__ import annotations

from dataclasses import dataclass

from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.quality.near import Pairs, identities, near_duplicates
from components.stages.augment.quality.thumbnails import Thumbnails, thumbnails
from components.stages.augment.table import Table


@dataclass(frozen=True)
class Similarity:
    """``thumbnails`` of all rows; ``pairs`` of near-duplicates among rows with different pixels."""

    thumbnails: Thumbnails
    pairs: Pairs

    @classmethod
    def of(cls, table: Table, settings: ViewSettings) -> Similarity:
        """Compute both, before the pictures are corrupted."""
        small = thumbnails(table.images)
        return cls(small, near_duplicates(small, table.digests, settings.near_distance))


def identity_of(table: Table, similarity: Similarity | None, settings: ViewSettings) -> list[bytes]:
    """Return a digest per row that images have in common if they count as equal."""
    if similarity is None or settings.near_duplicates == "report":
        return table.digests
    return identities(table.digests, similarity.pairs)
