"""Translators and generators on the command line: what is drawn, under which names, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.core.config.strict import SettingsError
from components.registry.predict.model import Model
from components.registry.predict.pictures import Picture
from components.registry.predict.sample import parse_params, sample
from components.registry.predict.translate import domain_index, empty_folder, translate

SIZE = 8


class Translator:
    """Adds 10 per domain, and the index of the style."""

    def __init__(self) -> None:
        self.facts = {"domains": ["cat", "dog"]}

    def translate(self, image: np.ndarray, domain: np.ndarray, *, seed: int, first: int) -> np.ndarray:
        styles = np.arange(first, first + len(image), dtype=np.uint8)
        return image + (10 * domain.astype(np.uint8) + styles + seed)[:, None, None, None]


class Generator:
    """Paints the label and the seed."""

    def __init__(self, classes: list[str], inputs: tuple[str, ...], params: tuple[str, ...]) -> None:
        self.facts, self.inputs, self.params = {"classes": classes}, inputs, params
        self.request: tuple[dict[str, np.ndarray], dict[str, Any]] = ({}, {})

    def predict(self, inputs: dict[str, np.ndarray], params: dict[str, Any]) -> dict[str, np.ndarray]:
        self.request = inputs, params
        if params.get("temperature") == 0:
            raise ValueError("temperature: 0 is not allowed")
        return {"image": np.zeros((len(next(iter(inputs.values()))), SIZE, SIZE, 1), np.uint8)}

    def model(self, folder: Path) -> Model:
        shapes = {"image": [-1, SIZE, SIZE, 1]}
        signature = {
            "inputs": [{"name": name, "shape": shapes.get(name, [-1])} for name in self.inputs],
            "outputs": [{"name": "image"}],
            "params": [{"name": name} for name in self.params],
        }
        (folder / "signature.json").write_text(json.dumps(signature))
        return Model("letters", "version 1", folder, self, None)


def test_each_picture_is_translated_in_a_style_of_its_own(tmp_path: Path) -> None:
    pixels = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    batches = [
        ([Picture(b"", "a/x.jpg"), Picture(b"", "a/x.webp")], pixels),
        ([Picture(b"", "/far/away.png"), Picture(b"", "../away.png")], pixels),
    ]
    folder = empty_folder(tmp_path / "out")
    assert len(list(translate(Translator(), batches, domain_index(Translator(), "dog"), 5, folder))) == 2
    found = {path.relative_to(folder).as_posix(): int(np.asarray(Image.open(path)).max()) for path in folder.rglob("*.png")}
    assert found == {"a/x.png": 15, "a/x.webp.png": 16, "away.png": 17, "away.png.png": 18}
    with pytest.raises(SettingsError, match="is no empty folder"):
        empty_folder(folder)
    with pytest.raises(SettingsError, match="--domain: unknown name 'cow'"):
        domain_index(Translator(), "cow")


def test_classes_are_drawn_in_turn(tmp_path: Path) -> None:
    served = Generator(["A", "B", "C"], ("label",), ("seed", "steps"))
    model = served.model(tmp_path)
    _, captions = sample(model, 5, classes=[], texts=[], params={"seed": 3})
    assert captions == ["A", "B", "C", "A", "B"]
    images, captions = sample(model, 3, classes=["C", "A"], texts=[], params=parse_params(["steps=7", "seed=1"]))
    assert (len(images), captions) == (3, ["C", "A", "C"])
    assert served.request[0]["label"].tolist() == [2, 0, 2]
    assert served.request[1] == {"steps": 7, "seed": 1}


def test_models_without_classes_of_texts_and_of_pixels(tmp_path: Path) -> None:
    free = Generator([], ("label",), ("seed",))
    sample(free.model(tmp_path), 2, classes=[], texts=[], params={})
    assert free.request[0]["label"].tolist() == [-1, -1]
    texts = Generator([], ("text",), ("seed",))
    assert sample(texts.model(tmp_path), 3, classes=[], texts=["a cat", "a dog"], params={})[1] == ["a cat", "a dog", "a cat"]
    pixels = Generator(["A"], ("image", "label"), ("task", "seed", "temperature"))
    sample(pixels.model(tmp_path), 2, classes=[], texts=[], params={})
    assert (pixels.request[0]["image"].shape, pixels.request[1]) == ((2, SIZE, SIZE, 1), {"task": "sample"})


@pytest.mark.parametrize(
    ("inputs", "options", "words"),
    [
        (("label",), {"classes": ["Z"]}, "--class: unknown name 'Z'; allowed: A"),
        (("text",), {"classes": ["A"], "texts": ["x"]}, "--class: letters knows no classes"),
        (("text",), {}, "--text: letters draws pictures of texts"),
        (("label",), {"texts": ["x"]}, "--text: letters is not made for texts"),
        (("label",), {"params": {"step": 1}}, "--param: step is not known; allowed: temperature"),
        (("label",), {"params": {"temperature": 0}}, "letters: temperature: 0 is not allowed"),
        (("label", "image"), {}, "enlarges given pictures"),
    ],
)
def test_what_the_model_does_not_take_is_refused(
    tmp_path: Path, inputs: tuple[str, ...], options: dict[str, Any], words: str
) -> None:
    model = Generator(["A"], inputs, ("temperature",)).model(tmp_path)
    with pytest.raises(SettingsError, match=words):
        sample(model, 1, **{"classes": [], "texts": [], "params": {}} | options)


def test_params_are_names_with_values() -> None:
    assert parse_params(["sampler=heun", "clip=false", "eta=0.5"]) == {"sampler": "heun", "clip": False, "eta": 0.5}
    with pytest.raises(SettingsError, match="'steps' is not NAME=VALUE"):
        parse_params(["steps"])
