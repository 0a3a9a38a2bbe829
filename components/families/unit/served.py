"""Serve an exported UNIT: translation between two domains by the mean of the latent, without noise."""

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
        self.networks = AutoEncoders(Path(folder), ("latent",))

    def predict(self, inputs: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
        """{"image": [N, H, W, C], 0..255, "domain": [N], the target} -> {"image": uint8 [N, H, W, C]}.

        ValueError for anything else.
        """
        request = translating.parse_request(self.facts, self.signature, inputs, params)
        return {"image": self.translate(request.image, request.domain)}

    def decode(self, data: bytes) -> np.ndarray:
        """Decode an encoded picture, of any size, as for the training: uint8 [H, W, C]. ValueError for a broken one."""
        return decode_for(self.facts, data)

    def translate(
        self,
        image: np.ndarray,
        domain: np.ndarray,
        *,
        style: None = None,
        reference: None = None,
        seed: int = 0,
        first: int = 0,
    ) -> np.ndarray:
        """uint8 [N, H, W, C], each into its ``domain``. There are no styles: ``seed`` and ``first`` have no effect."""
        if style is not None or reference is not None:
            raise ValueError("style, reference: this model has one translation of an image, and takes neither")
        domain = np.asarray(domain, np.int64)
        return self.networks.recode(image, 1 - domain, domain)

    def there_and_back(self, image: np.ndarray, source: np.ndarray, domain: np.ndarray) -> np.ndarray:
        """Into ``domain``, and back to ``source``."""
        source, domain = (np.asarray(which, np.int64) for which in (source, domain))
        return self.networks.recode(self.networks.recode(image, source, domain), domain, source)

    def reconstruct(self, image: np.ndarray, source: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C] from its own latent."""
        source = np.asarray(source, np.int64)
        return self.networks.recode(image, source, source)

    def codes(self, image: np.ndarray, source: np.ndarray) -> dict[str, np.ndarray]:
        """{"content": float32 [N, F], the latent's means}."""
        return self.networks.codes(image, np.asarray(source, np.int64))
