"""Serves an exported MUNIT: images of two domains into each other, in a style that is drawn, given, or an example image's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ...serving import coding, pixels, session
from ...serving import translating as border


class Served:
    """The export in ``folder``: ``encode_<k>.onnx`` and ``decode_<k>.onnx`` of domain k, ``facts.json``, ``signature.json``.

    ``domain`` and ``source`` below are int [N], one an image; a translation's source is the other domain.
    """

    def __init__(self, folder: Path | str):
        folder = Path(folder)
        self.facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        self.signature = json.loads((folder / "signature.json").read_text(encoding="utf-8"))
        self.encoders = [session.open_session(folder / f"encode_{k}.onnx") for k in (0, 1)]
        self.decoders = [session.open_session(folder / f"decode_{k}.onnx") for k in (0, 1)]

    def predict(self, inputs: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
        """{"image": [N, H, W, C], 0..255, "domain": [N], the target} -> {"image": uint8 [N, H, W, C]}.

        ``params``: ``style_from`` "seed" (the default; ``seed``), "reference" (the input of that name: one example image of the
        target domain, or N) or "style" (``style``: its numbers, for all images). ValueError for anything else.
        """
        asked = border.asked(self.facts, self.signature, inputs, params)
        style, reference = asked.style, asked.reference
        return {"image": self.translate(asked.image, asked.domain, style=style, reference=reference, seed=asked.seed)}

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
        """uint8 [N, H, W, C], each into its ``domain``, in ``style`` float32 [N, S] or that of ``reference``, N images.

        Neither: image i gets the random style ``first`` + i of ``seed``.
        """
        domain = np.asarray(domain, np.int64)
        if reference is not None:
            style = self.styles_of(reference, domain)
        if style is None:
            style = border.random_styles(len(image), self.facts["style_width"], seed, first)
        return self.recoded(image, 1 - domain, domain, style)

    def recoded(self, image: np.ndarray, source: np.ndarray, domain: np.ndarray, style: np.ndarray) -> np.ndarray:
        """Encoded by ``source``'s network, decoded by ``domain``'s in this style: uint8 [N, H, W, C]."""

        def some(image: np.ndarray, source: np.ndarray, domain: np.ndarray, style: np.ndarray) -> tuple[np.ndarray]:
            return (self.decode(self.encode(image, source)[0], style, domain),)

        return coding.in_chunks(some, image, source, domain, style.astype(np.float32))[0]

    def styles_of(self, reference: np.ndarray, domain: np.ndarray) -> np.ndarray:
        """float32 [N, S]: the style of each image uint8 [N, H, W, C], which is of ``domain``."""
        return coding.in_chunks(lambda *some: (self.encode(*some)[1],), reference, np.asarray(domain, np.int64))[0]

    def there_and_back(self, image: np.ndarray, source: np.ndarray, domain: np.ndarray) -> np.ndarray:
        """Into ``domain`` in the random styles of seed 0, and back to ``source`` in the image's own style."""
        source, domain = (np.asarray(which, np.int64) for which in (source, domain))
        drawn = border.random_styles(len(image), self.facts["style_width"], 0)
        there = self.recoded(image, source, domain, drawn)
        return self.recoded(there, domain, source, self.styles_of(image, source))

    def reconstruct(self, image: np.ndarray, source: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C] from its own content and style."""
        source = np.asarray(source, np.int64)
        return coding.in_chunks(lambda x, k: (self.decode(*self.encode(x, k), k),), image, source)[0]

    def codes(self, image: np.ndarray, source: np.ndarray) -> dict[str, np.ndarray]:
        """{"content": float32 [N, F], means over at most 4 x 4 cells, "style": float32 [N, S]}."""

        def some(image: np.ndarray, source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            content, style = self.encode(image, source)
            return coding.cells(content), style

        return dict(zip(("content", "style"), coding.in_chunks(some, image, np.asarray(source, np.int64)), strict=True))

    def encode(self, image: np.ndarray, source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 [N, H, W, C] -> content float32 [N, C', h, w], style float32 [N, S]; N at least 1, as below."""
        ranged = pixels.to_unit_range(image)
        content, style = coding.of_each(
            source, lambda k, here: self.encoders[k].run(["content", "style"], {"image": ranged[here]})
        )
        return content, style

    def decode(self, content: np.ndarray, style: np.ndarray, domain: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C]."""

        def one(k: int, here: np.ndarray) -> list[np.ndarray]:
            return self.decoders[k].run(["image"], {"content": content[here], "style": style[here]})

        return pixels.from_unit_range(coding.of_each(domain, one)[0])
