"""Standardisation of images: mean and standard deviation per channel, in the units of a batch."""

from __future__ import annotations

from components.core.batch import ViewFacts

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of RGB in [0, 1]
OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's, of RGB in [0, 1]
RGB = {"imagenet": (IMAGENET_MEAN, IMAGENET_STD), "openai": (OPENAI_MEAN, OPENAI_STD)}


def standardisation(which: str, view: ViewFacts) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (mean, std) per channel in the units of [-1, 1]: of the view, 0 and 1 ("half"), or published ones of RGB."""
    if which == "half":
        return (0.0,) * view.channels, (1.0,) * view.channels
    if which in RGB:
        if view.channels != 3:
            fault = f"{which} is of RGB images, view {view.name!r} has {view.channels} channel(s)"
            raise ValueError(f"train.standardise: {fault}; view or half are of any")
        mean, std = RGB[which]
        return tuple(2 * m - 1 for m in mean), tuple(2 * s for s in std)
    return view.mean, view.std
