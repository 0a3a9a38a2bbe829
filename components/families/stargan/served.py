"""Serve an exported StarGAN: translation into any domain, or to any attributes; one translation per image and target."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...serving import pixels, session, translating
from ...serving.decoding import decode_for
from .attributes import as_labels, flipped, label_vectors

BATCH = 128  # images translated at a time


class Served:
    """The export in ``folder``. Domains are numbered through all data sets, one after another.

    A model of attributes (facts ``several``) is given the target labels of each image instead, 0 to 1, of one data set.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.facts, self.signature = translating.read_export(self.folder)
        self.labels = label_table(self.facts["num_labels"])

    def predict(self, inputs: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """{"image": uint8 [N, H, W, C], "domain": [N], the target of each} -> {"image": uint8 [N, H, W, C]}.

        With attributes "labels" [N, K] instead of "domain", and params ``flip`` (name of an attribute whose target is the
        opposite) and ``dataset`` (whose labels they are). ValueError for anything else.
        """
        if "several" in self.facts:
            return {"image": self.predict_attributes(inputs, params or {})}
        request = translating.parse_request(self.facts, self.signature, inputs, params)
        return {"image": self.translate(request.image, request.domain)}

    def predict_attributes(self, inputs: Mapping[str, Any], params: Mapping[str, Any]) -> np.ndarray:
        """Translate to target attributes; see ``predict``."""
        if not isinstance(inputs, Mapping) or set(inputs) != {"image", "labels"}:
            found = ", ".join(map(str, inputs)) if isinstance(inputs, Mapping) else type(inputs).__name__
            raise ValueError(f"the input must be a mapping with image and labels, found {found or 'nothing'}")
        allowed = [entry["name"] for entry in self.signature["params"]]
        if unknown := sorted(set(params) - set(allowed)):
            raise ValueError(f"params: {', '.join(unknown)} is not known; allowed: {', '.join(allowed)}")
        dataset, flip = int(params.get("dataset", 0)), str(params.get("flip", ""))
        image = pixels.as_pixels(inputs["image"], self.facts["image_size"], self.facts["channels"])
        labels = as_labels(inputs["labels"], len(image), self.facts, dataset)
        return self.translate_to(image, self.flipped(labels, flip, dataset) if flip else labels, dataset)

    def translate_to(self, image: Any, labels: Any, dataset: int = 0) -> np.ndarray:
        """uint8 [N, H, W, C] to the attributes ``labels`` [N, K] of ``dataset`` -> uint8 [N, H, W, C]."""
        vectors = label_vectors(as_labels(labels, len(image), self.facts, dataset), self.facts, dataset)
        return pixels.from_unit_range(self.generate(self.as_input(image), vectors))

    def flipped(self, labels: np.ndarray, name: str, dataset: int = 0) -> np.ndarray:
        """``labels`` [N, K] with the attribute ``name`` flipped; one of an exclusive group is set, and the others cleared."""
        return flipped(labels, name, self.facts, dataset)

    def attributes(self, image: Any) -> np.ndarray:
        """uint8 [N, H, W, C] -> the probability of each label by the network's own classifier, float32 [N, all labels]."""
        inputs, logits = self.as_input(image), [np.zeros((0, len(self.facts["domains"])), np.float32)]
        for start in range(0, len(inputs), BATCH):
            logits += self.classifier.run(["logits"], {"image": inputs[start : start + BATCH]})
        return 1 / (1 + np.exp(-np.concatenate(logits)))

    def decode(self, data: bytes) -> np.ndarray:
        """Decode an encoded picture, of any size, as for the training: uint8 [H, W, C]. ValueError for a broken one."""
        return decode_for(self.facts, data)

    def translate(
        self, image: Any, domain: Any, *, style: None = None, reference: None = None, seed: int = 0, first: int = 0
    ) -> np.ndarray:
        """uint8 [N, H, W, C] into ``domain`` [N]. There are no styles: ``seed`` and ``first`` have no effect.

        Into an attribute: with it, and with all others as the network's classifier reads them in the image.
        """
        if style is not None or reference is not None:
            raise ValueError("style, reference: this model has one translation for each domain, and takes neither")
        if "several" in self.facts:
            vectors = self.with_attribute(image, self.as_domains(domain, image))
            return pixels.from_unit_range(self.generate(self.as_input(image), vectors))
        return pixels.from_unit_range(self.generate(self.as_input(image), self.labels[self.as_domains(domain, image)]))

    def with_attribute(self, image: Any, domain: np.ndarray) -> np.ndarray:
        """Label vectors of images with the label ``domain`` [N] set, the other attributes of its data set as they are read."""
        seen, starts = (self.attributes(image) > 0.5).astype(np.float32), np.cumsum([0, *self.facts["num_labels"]])
        vectors = np.zeros((len(domain), self.labels.shape[1]), np.float32)
        for row, label in enumerate(domain.tolist()):
            dataset = int(np.searchsorted(starts, label, side="right")) - 1
            own = seen[row : row + 1, starts[dataset] : starts[dataset + 1]]
            there = self.facts["several"][dataset] and own[0, label - starts[dataset]]
            target = own if there else self.flipped(own, self.facts["domains"][label], dataset)
            vectors[row] = label_vectors(target, self.facts, dataset)[0]
        return vectors

    def there_and_back(self, image: Any, source: Any, domain: Any) -> np.ndarray:
        """uint8 [N, H, W, C] of domain ``source`` [N] into ``domain`` [N] and back, not rounded to pixels in between."""
        there = self.generate(self.as_input(image), self.labels[self.as_domains(domain, image)])
        return pixels.from_unit_range(self.generate(there, self.labels[self.as_domains(source, image)]))

    def generate(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """float32 [N, C, H, W] in [-1, 1], label vectors float32 [N, label_dim] -> [N, C, H, W]."""
        outputs = [image[:0]]
        for start in range(0, len(image), BATCH):
            part = slice(start, start + BATCH)
            outputs += self.session.run(["translated"], {"image": image[part], "label": labels[part]})
        return np.concatenate(outputs)

    def as_input(self, image: Any) -> np.ndarray:
        return pixels.to_unit_range(pixels.as_pixels(image, self.facts["image_size"], self.facts["channels"]))

    def as_domains(self, domain: Any, image: Any) -> np.ndarray:
        return translating.as_domains(domain, len(image), self.facts["domains"])

    @cached_property
    def session(self) -> Any:
        return session.open_session(self.folder / "model.onnx")

    @cached_property
    def classifier(self) -> Any:
        return session.open_session(self.folder / "classifier.onnx")


def label_table(num_labels: list[int]) -> np.ndarray:
    """Row k: the label vector of the k-th of all domains, float32 [sum(num_labels), label_dim].

    One-hot; for more than one data set followed by a one-hot mask of the domain's data set (Choi et al. 2018, arXiv
    1711.09020, eq. 7).
    """
    table = np.eye(sum(num_labels), dtype=np.float32)
    if len(num_labels) == 1:
        return table
    return np.concatenate([table, np.repeat(np.eye(len(num_labels), dtype=np.float32), num_labels, axis=0)], axis=1)
