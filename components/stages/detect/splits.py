"""Which images of a view are meant, and whether there are any."""

from __future__ import annotations

from components.core.batch import ViewFacts


def has(facts: ViewFacts, split: str) -> bool:
    """Whether the view has images in the split."""
    return facts.counts.get(split, 0) > 0


def demand(facts: ViewFacts, split: str, key: str) -> str:
    """``split``; ValueError names the setting ``key`` where the view has no image in it."""
    if not has(facts, split):
        fault = "is empty" if split in facts.counts else "does not exist"
        raise ValueError(f"{key}: the split {split!r} of view {facts.name!r} {fault}; {_choices(facts)}")
    return split


def validation_split(facts: ViewFacts) -> str:
    """Where thresholds come from: the validation images, or the nearest to them that the view has."""
    return next(split for split in ("validation", "test", "train") if has(facts, split))


def chosen_splits(facts: ViewFacts, wanted: str, key: str) -> tuple[str, ...]:
    """The splits that ``wanted`` means, "all" or one; ValueError where no image is among them."""
    if wanted != "all":
        return (demand(facts, wanted, key),)
    found = tuple(split for split in facts.counts if has(facts, split))
    if not found:
        raise ValueError(f"{key}: view {facts.name!r} has no images; look at its dataset and its split block")
    return found


def _choices(facts: ViewFacts) -> str:
    counted = ", ".join(f"{split} ({count} images)" for split, count in facts.counts.items() if count)
    return f"it has {counted}" if counted else "it has no images at all"
