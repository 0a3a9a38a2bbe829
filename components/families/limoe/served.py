"""Serve an exported LIMoE as a CLIP is served, and tell which experts its tokens go to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...serving import pictures_and_texts
from ...serving.pixels import as_pixels, to_unit_range

BATCH = pictures_and_texts.BATCH


class Served(pictures_and_texts.Served):
    """The export in a folder. No token is dropped: an answer depends on no other image or text of the request."""

    def experts_of_image(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 [N, H, W, C] -> experts int64 [N, M, P] of M mixtures and P patches, and gates float32 [N, M, P]."""
        pixels = as_pixels(image, self.facts["image_size"], self.facts["channels"])
        return _routed(self.image, "image", [to_unit_range(part) for part in _parts(pixels)])

    def experts_of_text(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Texts -> experts int64 [N, M, T], -1 for padding, gates float32 [N, M, T], and tokens int64 [N, T]."""
        tokens = self.tokeniser.tokens(pictures_and_texts.as_texts(texts, "texts"))[0]
        return *_routed(self.text, "tokens", _parts(tokens)), tokens


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


def _routed(session: Any, name: str, parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return experts and gates of a graph that has them. ValueError for no rows, or for a model without experts."""
    if "experts" not in [output.name for output in session.get_outputs()]:
        raise ValueError("this model has no experts: it is the dense counterpart")
    if not parts:
        raise ValueError("nothing to send to experts: give at least one image or text")
    experts, gates = zip(*(session.run(["experts", "gates"], {name: part}) for part in parts), strict=True)
    return np.concatenate(experts), np.concatenate(gates)
