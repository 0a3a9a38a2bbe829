"""Serve an encoder of masked image modelling: pixels in; features, and the image with its masked cells rebuilt, out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ...serving.decoding import decode_for
from ...serving.pixels import as_pixels, from_unit_range, to_unit_range
from ...serving.session import open_session


class Served:
    """The export in ``folder``: ``features.onnx``, ``reconstruction.onnx`` and ``facts.json`` (image_size, channels, cells)."""

    def __init__(self, folder: Path | str):
        self.facts = json.loads((Path(folder) / "facts.json").read_text(encoding="utf-8"))
        cells = self.facts["cells"]
        self.grid, self.side = (cells["rows"], cells["columns"]), cells["side"]
        self.sessions = {name: open_session(Path(folder) / f"{name}.onnx") for name in ("features", "reconstruction")}

    def predict(self, inputs: dict[str, np.ndarray], params: dict[str, object] | None = None) -> dict[str, np.ndarray]:
        """{"image": [N, H, W, C], 0..255, "mask": [N, cells], 1 where masked} -> features and reconstruction.

        Features: float32 [N, D], of the whole image. Reconstruction: uint8 [N, H, W, C], the image with its masked cells (row
        by row) rebuilt from the others; without "mask" nothing is masked. ValueError for any other input or parameter.
        """
        if params:
            raise ValueError(f"params: this model takes none, found {', '.join(sorted(params))}")
        if not isinstance(inputs, dict) or not {"image"} <= set(inputs) <= {"image", "mask"}:
            found = ", ".join(map(str, inputs)) if isinstance(inputs, dict) else type(inputs).__name__
            raise ValueError(f"the input must be a mapping with the keys 'image' and 'mask', found {found or 'nothing'}")
        pixels = as_pixels(inputs["image"], self.facts["image_size"], self.facts["channels"])
        mask = self.as_mask(inputs.get("mask"), len(pixels))
        rebuilt = from_unit_range(self.rebuild(pixels, mask))
        return {"features": self.features(pixels), "reconstruction": np.where(self.masked_pixels(mask), rebuilt, pixels)}

    def decode(self, data: bytes) -> np.ndarray:
        """Decode an encoded picture, of any size, as for the training: uint8 [H, W, C]. ValueError for a broken one."""
        return decode_for(self.facts, data)

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C] -> float32 [N, D], the mean of the encoder's last map."""
        return self._run("features", image=to_unit_range(pixels))

    def rebuild(self, pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C], mask [N, cells] -> float32 [N, C, H, W], about [-1, 1]: what the network says of all pixels."""
        return self._run("reconstruction", image=to_unit_range(pixels), mask=mask.reshape(-1, *self.grid).astype(np.float32))

    def as_mask(self, mask: Any, number: int) -> np.ndarray:
        """Check the input ``mask``; return it as bool [number, cells], nothing masked for None."""
        cells = self.grid[0] * self.grid[1]
        array = np.zeros((number, cells), bool) if mask is None else np.asarray(mask)
        if array.dtype.kind not in "biuf" or array.shape != (number, cells) or not np.isin(array, (0, 1)).all():
            fault = (
                f"mask: 0 or 1 for each of {self.grid[0]} x {self.grid[1]} cells, row by row, of {number} images is expected"
            )
            raise ValueError(f"{fault}, found {array.dtype} {list(array.shape)}")
        return array.astype(bool)

    def masked_pixels(self, mask: np.ndarray) -> np.ndarray:
        """Mask [N, cells] -> bool [N, H, W, 1]."""
        return mask.reshape(-1, *self.grid).repeat(self.side, axis=1).repeat(self.side, axis=2)[..., None]

    def _run(self, graph: str, **inputs: np.ndarray) -> np.ndarray:
        if len(inputs["image"]) == 0:  # not every operator takes an empty batch
            one = {name: np.zeros((1, *array.shape[1:]), np.float32) for name, array in inputs.items()}
            return self._run(graph, **one)[:0]
        (output,) = self.sessions[graph].run([graph], inputs)
        return np.asarray(output)
