"""Real images of the evaluated split, and samples drawn for the conditions of those images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from components.core.batch import Batch, Split, pixels_of
from components.diffusion.conditions import texts_of
from components.families.diffusion.settings import TextSettings

if TYPE_CHECKING:
    from components.families.diffusion.evaluation import Settings


@dataclass(frozen=True)
class RealImages:
    """Images uint8 [N, H, W, C], labels int64 [N] or None, names of the classes, and the facts of the served model.

    ``texts``: a caption of each image, as the model is asked for it; () without. ``objects``: of each image.
    """

    images: np.ndarray
    label: np.ndarray | None
    classes: tuple[str, ...]
    facts: dict[str, Any]
    texts: tuple[str, ...] = ()
    objects: tuple[Objects, ...] = ()

    @classmethod
    def of(cls, split: Split, facts: dict[str, Any]) -> RealImages:
        """Read the split, the first caption of each image and its boxes."""
        batches, names = list(split), split.facts.classes.get("box_label", ())
        labels = [batch["label"].numpy() for batch in batches if "label" in batch]
        captioned = batches if asked_by_caption(facts) else []
        boxed = [batch for batch in batches if "boxes" in batch]
        return cls(
            np.concatenate([pixels_of(batch) for batch in batches]),
            np.concatenate(labels) if labels else None,
            split.facts.classes.get("label", ()),
            facts,
            tuple(text for batch in captioned for text in texts_of(batch["tokens"])),
            tuple(Objects.of(batch, row, names) for batch in boxed for row in range(len(batch["boxes"]))),
        )

    def inputs(self, index: np.ndarray, guidance: str = "free") -> dict[str, Any]:
        """Inputs of ``predict`` for the conditions of the images at ``index``."""
        conditions, label = self.facts["conditions"], self.label
        inputs: dict[str, Any] = {}
        if conditions["label"] or guidance == "classifier":
            assert label is not None
            inputs["label"] = label[index]
        if self.texts:
            inputs["text"] = np.array([self.texts[k] for k in index])
        elif conditions["text"]:
            assert label is not None
            text = TextSettings(**conditions["text"])
            inputs["text"] = np.array([text.of(self.classes[k]) for k in label[index]])
        if conditions["low_resolution"]:
            inputs["image"] = self.reduce(self.images[index])
        return inputs or {"label": np.full(len(index), -1, np.int64)}

    def reduce(self, images: np.ndarray) -> np.ndarray:
        """Average pooling as in training: uint8 [N, H, W, C] -> [N, h, w, C]."""
        factor = self.facts["conditions"]["low_resolution"]["factor"]
        number, height, width, channels = images.shape
        squares = images.reshape(number, height // factor, factor, width // factor, factor, channels)
        return squares.mean(axis=(2, 4)).round().astype(np.uint8)

    def rows_of_classes(self, rows: int) -> np.ndarray:
        """Indices of ``rows`` x K images, one of each class per row; a class with fewer images is repeated."""
        assert self.label is not None
        members = [np.flatnonzero(self.label == k) for k in range(len(self.classes))]
        return np.array([own[row % len(own)] for row in range(rows) for own in members if len(own)])


@dataclass(frozen=True)
class Objects:
    """The objects of an image: ``names`` of their classes, ``centres`` float [n, 2], (right, down) as shares of the sides."""

    names: tuple[str, ...]
    centres: np.ndarray

    @classmethod
    def of(cls, batch: Batch, row: int, classes: tuple[str, ...]) -> Objects:
        """Read the boxes of an image of a batch."""
        mask = batch["box_mask"][row].numpy()
        labels = batch["box_label"][row].numpy()[mask]
        return cls(tuple(classes[label] for label in labels), batch["boxes"][row].numpy()[mask][:, :2])


def asked_by_caption(facts: dict[str, Any]) -> bool:
    """Whether the served model is asked for captions of the view, and not for classes."""
    text = facts["conditions"]["text"]
    return bool(text) and text.get("template") is None


def sample_arguments(served: Any, settings: Settings, **changes: Any) -> dict[str, Any]:
    """Keyword arguments of ``served.sample`` for the ``evaluate`` block; ``changes`` replace some."""
    names = ("sampler", "steps", "guidance_scale", "guidance", "seed")
    arguments = {name: getattr(settings, name) for name in names} | changes
    arguments[scale_name(served)] = arguments.pop("guidance_scale")
    return arguments


def scale_name(served: Any) -> str:
    """The name of the guidance scale: exports made before it was renamed, whose served code is their own, call it gamma."""
    return "gamma" if any(param["name"] == "gamma" for param in served.signature["params"]) else "guidance_scale"
