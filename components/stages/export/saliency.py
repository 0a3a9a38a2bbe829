"""Saliency maps of a few validation pictures, for the report: computed here, where the network and its weights are at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.core.batch import to_unit_range
from components.core.files import write_arrays
from components.networks.saliency import saliency
from components.stages.views.frames import centre_crop
from components.stages.views.view import View

FILE = "saliency.npz"
CANDIDATES, SHOWN = 64, 8  # pictures that are looked at, and of these the worst and the surest


def write_saliency(recipe: Any, view: View, out: Path) -> None:
    """Write ``saliency.npz``: split, method, rows [n] of the split, maps uint8 [n, h, w]; for recipes that are classifiers.

    Half of the pictures are those with the least probability of their own class, half the surest of different classes. A map
    shows what speaks for the picture's own class (Grad-CAM), or what the network looks at (rollout).
    """
    if not getattr(recipe, "detects", False) or getattr(recipe, "class_column", "label") != "label":
        return  # a map is for one class per image
    classifier = recipe.detection().network
    split = next(name for name in ("validation", "test", "train") if name in view.facts.counts)
    arrays = view.split(split)
    rows = np.unique(np.linspace(0, len(arrays) - 1, min(len(arrays), CANDIDATES)).round().astype(np.int64))
    pixels = centre_crop({"image": arrays.images[rows]}, (view.facts.height, view.facts.width), None)["image"]
    image, label = to_unit_range(torch.from_numpy(pixels.copy())), torch.from_numpy(arrays.columns["label"][rows])
    chosen = chosen_rows(own_probability(classifier, image, label), label.numpy())
    try:
        method, maps = saliency(classifier, image[chosen], label[chosen])
    except ValueError as error:
        print(f"no saliency maps for the report: {error}")
        return
    grey = (maps * 255).round().to(torch.uint8).numpy()
    names = {"split": np.array(split), "method": np.array(method)}
    write_arrays(out / FILE, names | {"row": rows[chosen.numpy()], "map": grey})


@torch.no_grad()
def own_probability(classifier: torch.nn.Module, image: torch.Tensor, label: torch.Tensor) -> np.ndarray:
    """Probability of each picture's own class, float32 [n]."""
    logits, _ = classifier(image)
    own: np.ndarray = logits.float().softmax(1).gather(1, label[:, None])[:, 0].numpy()
    return own


def chosen_rows(own: np.ndarray, label: np.ndarray) -> torch.Tensor:
    """Indices of the pictures to show: the least sure half first, then the surest, one per class while there are classes."""
    order = np.argsort(own, kind="stable")
    least, rest = order[: SHOWN // 2], order[SHOWN // 2 :][::-1]
    first = [index for place, index in enumerate(rest) if label[index] not in label[rest[:place]]]
    others = [index for index in rest if index not in first]
    return torch.from_numpy(np.concatenate([least, np.array([*first, *others], np.int64)[: SHOWN // 2]]))
