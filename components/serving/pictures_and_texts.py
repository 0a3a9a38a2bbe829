"""Serve a model with a graph for pictures and one for texts: vectors of one space; probabilities of named classes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .decoding import decode_for
from .pixels import as_pixels, to_unit_range
from .session import open_session
from .text import FILE, Tokeniser

BATCH = 64  # rows of a graph's call
PARAMS = ("class_names", "templates")
REMEMBERED = 64  # sets of classes whose vectors are held


class Served:
    """The export in ``folder``: ``image.onnx``, ``text.onnx``, ``tokeniser.json``, ``facts.json``.

    ``classes``: the words of the classes of a request that names none; ``scale``: the inverse temperature, by which a cosine
    becomes a logit.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.facts = json.loads((self.folder / "facts.json").read_text(encoding="utf-8"))
        self.classes = np.array(self.facts["classes"], dtype=str)
        self.scale = float(self.facts["scale"])
        self.class_vectors = lru_cache(REMEMBERED)(self._class_vectors)

    def predict(self, inputs: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """{"image": [N, H, W, C], 0..255} -> label int64 [N], probability float32 [N], class_name str [N] and more.

        ``params``: ``class_names``, in words, and ``templates`` with {} for them; the export's for those that are not given or
        empty. Further outputs: ``probabilities`` float32 [N, K] in the order of the classes, ``embedding`` float32 [N, D].
        Without any class (a model of captions alone, a request that names none) the label is -1, its name empty, its
        probability 0. ValueError for anything else.
        """
        names, templates = self._asked(params or {})
        if not isinstance(inputs, Mapping) or set(inputs) != {"image"}:
            found = ", ".join(map(str, inputs)) if isinstance(inputs, Mapping) else type(inputs).__name__
            raise ValueError(f"the input must be a mapping with the one key 'image', found {found or 'nothing'}")
        return self._outputs(self._scores(inputs["image"], names, templates), np.array(names, dtype=str))

    def scores(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """uint8 [N, H, W, C] -> logits float32 [N, K] of the export's classes, features float32 [N, D]: the embedding."""
        return self._scores(image, *self._asked({}))

    def outputs_of(self, scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the answer of ``predict`` from the result of ``scores``."""
        return self._outputs(scores, self.classes)

    def embed_image(self, image: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C] -> unit rows float32 [N, D]."""
        return self._image(image, "embedding")

    def image_features(self, image: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C] -> float32 [N, F], what the image tower has before its projection."""
        return self._image(image, "features")

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> unit rows float32 [N, D]. Longer ones than the context are cut; ``cut`` tells which."""
        tokens = self.tokeniser.tokens(as_texts(texts, "texts"))[0]
        return _in_batches(lambda part: self.text.run(["text_embedding"], {"tokens": part})[0], tokens, self.facts["embed_dim"])

    def cut(self, texts: Sequence[str]) -> np.ndarray:
        """Return bool [N]: which texts are longer than the context, and lose their end."""
        return self.tokeniser.tokens(as_texts(texts, "texts"))[1]

    def decode(self, data: bytes) -> np.ndarray:
        """Decode an encoded picture, of any size, as for the training: uint8 [H, W, C]. ValueError for a broken one."""
        return decode_for(self.facts, data)

    def _asked(self, params: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return class names and templates of a request."""
        if unknown := sorted(set(params) - set(PARAMS)):
            raise ValueError(f"params: {', '.join(unknown)} is not known; allowed: {', '.join(PARAMS)}")
        given = {key: as_texts(params.get(key, ()), key) for key in PARAMS}
        names = given["class_names"] or tuple(self.facts["classes"])
        templates = given["templates"] or tuple(self.facts["templates"])
        if wrong := [template for template in templates if template.count("{}") != 1]:
            raise ValueError(f"templates: {wrong[0]!r} must have {{}} once, where the class name goes")
        return names, templates

    def _scores(self, image: Any, names: tuple[str, ...], templates: tuple[str, ...]) -> dict[str, np.ndarray]:
        features = self.embed_image(image)
        return {"logits": np.float32(self.scale) * features @ self.class_vectors(names, templates).T, "features": features}

    def _outputs(self, scores: Mapping[str, np.ndarray], classes: np.ndarray) -> dict[str, np.ndarray]:
        logits = scores["logits"]
        if not len(classes):
            return _unnamed(logits) | {"embedding": scores["features"]}
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)
        label = logits.argmax(axis=1).astype(np.int64)
        best = {"label": label, "probability": probabilities.max(axis=1), "class_name": classes[label]}
        return best | {"probabilities": probabilities, "embedding": scores["features"]}

    def _class_vectors(self, names: tuple[str, ...], templates: tuple[str, ...]) -> np.ndarray:
        """Return a unit row per class: the mean over its templates' unit vectors, of length 1 again (section 3.1.4)."""
        if not names:
            return np.zeros((0, self.facts["embed_dim"]), np.float32)
        texts = [template.replace("{}", name) for name in names for template in templates]
        rows = self.embed_text(texts).reshape(len(names), len(templates), -1).mean(axis=1)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    def _image(self, image: Any, output: str) -> np.ndarray:
        pixels = as_pixels(image, self.facts["image_size"], self.facts["channels"])
        width = next(entry.shape[1] for entry in self.image.get_outputs() if entry.name == output)
        return _in_batches(lambda part: self.image.run([output], {"image": to_unit_range(part)})[0], pixels, width)

    @cached_property
    def image(self) -> Any:
        return open_session(self.folder / "image.onnx")

    @cached_property
    def text(self) -> Any:
        return open_session(self.folder / "text.onnx")

    @cached_property
    def tokeniser(self) -> Tokeniser:
        return Tokeniser.read(self.folder / FILE)


def _unnamed(logits: np.ndarray) -> dict[str, np.ndarray]:
    """Return the answer for pictures of no class: logits [N, 0]."""
    number = len(logits)
    return {
        "label": np.full(number, -1, np.int64),
        "probability": np.zeros(number, np.float32),
        "class_name": np.full(number, "", dtype=str),
        "probabilities": logits.astype(np.float32),
    }


def as_texts(texts: Any, name: str) -> tuple[str, ...]:
    """Check a list of texts that are not empty. ValueError for others."""
    listed = texts.tolist() if isinstance(texts, np.ndarray) else texts
    if not isinstance(listed, list | tuple):
        raise ValueError(f"{name}: a list of texts is expected, found {listed!r}")
    if wrong := [text for text in listed if not isinstance(text, str) or not text.strip()]:
        raise ValueError(f"{name}: texts that are not empty are expected, found {wrong[0]!r}")
    return tuple(listed)


def _in_batches(run: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, width: int) -> np.ndarray:
    """Run a graph on at most ``BATCH`` rows at a time; float32 [N, width], also for none."""
    parts = [run(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]
    return np.concatenate(parts) if parts else np.zeros((0, width), np.float32)
