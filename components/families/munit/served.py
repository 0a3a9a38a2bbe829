"""Serve an exported MUNIT: translation between two domains, in a random or given style or that of an example image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...serving import translating
from ...serving.decoding import decode_for
from ...serving.pairs import AutoEncoders


class Served:
    """The export in ``folder``. Below, ``domain`` and ``source`` are int64 [N]; a translation's source is the other domain."""

    def __init__(self, folder: Path | str):
        self.facts, self.signature = translating.read_export(Path(folder))
        self.networks = AutoEncoders(Path(folder), ("content", "style"))

    def predict(self, inputs: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
        """{"image": [N, H, W, C], 0..255, "domain": [N], the target} -> {"image": uint8 [N, H, W, C]}.

        ``params``: ``style_from`` is "seed" (default; uses ``seed``), "reference" (uses the input of that name: one example
        image of the target domain, or N) or "style" (uses ``style``, one for all images). ValueError for anything else.
        """
        request = translating.parse_request(self.facts, self.signature, inputs, params)
        style, reference = request.style, request.reference
        return {"image": self.translate(request.image, request.domain, style=style, reference=reference, seed=request.seed)}

    def decode(self, data: bytes) -> np.ndarray:
        """Decode an encoded picture, of any size, as for the training: uint8 [H, W, C]. ValueError for a broken one."""
        return decode_for(self.facts, data)

    def translate(
        self,
        image: np.ndarray,
        domain: np.ndarray,
        *,
        style: np.ndarray | None = None,
        reference: np.ndarray | None = None,
        seed: int = 0,
        first: int = 0,
    ) -> np.ndarray:
        """uint8 [N, H, W, C], each into its ``domain``, in ``style`` float32 [N, S] or in that of ``reference``, N images.

        If neither is given, image i gets the random style ``first`` + i of ``seed``.
        """
        domain = np.asarray(domain, np.int64)
        if reference is not None:
            style = self.styles_of(reference, domain)
        if style is None:
            style = self.random_styles(len(image), seed, first)
        return self.networks.recode(image, 1 - domain, domain, style)

    def random_styles(self, number: int, seed: int = 0, first: int = 0) -> np.ndarray:
        return translating.random_styles(number, self.facts["style_width"], seed, first)

    def styles_of(self, reference: np.ndarray, domain: np.ndarray) -> np.ndarray:
        """float32 [N, S]: the style of each image uint8 [N, H, W, C] of ``domain``."""
        return self.codes(reference, domain)["style"]

    def there_and_back(self, image: np.ndarray, source: np.ndarray, domain: np.ndarray) -> np.ndarray:
        """Into ``domain`` in the random styles of seed 0, and back to ``source`` in the image's own style."""
        source, domain = (np.asarray(which, np.int64) for which in (source, domain))
        there = self.networks.recode(image, source, domain, self.random_styles(len(image)))
        return self.networks.recode(there, domain, source, self.styles_of(image, source))

    def reconstruct(self, image: np.ndarray, source: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C] from its own content and style."""
        source = np.asarray(source, np.int64)
        return self.networks.recode(image, source, source)

    def codes(self, image: np.ndarray, source: np.ndarray) -> dict[str, np.ndarray]:
        """{"content": float32 [N, F], "style": float32 [N, S]}."""
        return self.networks.codes(image, np.asarray(source, np.int64))
