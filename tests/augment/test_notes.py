"""Pictures with several frames, or of 12 bits in 16, are named when a view is made."""

import io

import numpy as np
import pytest
from PIL import Image

from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.raw.annotations import Annotations
from components.stages.augment.raw.layouts import RawSplit
from components.stages.augment.table import decode_all


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def sixteen_bits(maximum: int) -> bytes:
    return encoded(Image.fromarray(np.linspace(0, maximum, 64).astype(np.uint16).reshape(8, 8)), "PNG")


def film() -> bytes:
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    return encoded(first, "GIF", save_all=True, append_images=[second])


def warnings_of(pictures: dict[str, bytes], tmp_path, caplog, **view) -> list[str]:
    names = list(pictures)
    columns = {"label": np.zeros(len(names), np.int64)}
    split = RawSplit(len(names), columns, Annotations(), lambda i: names[i], lambda: iter(pictures.values()))
    settings = ViewSettings(**{"dataset": "d", "image_size": 8, "channels": 1} | view)
    decode_all({"all": split}, settings, tmp_path / "scratch")
    return caplog.messages


def test_dark_pictures_of_16_bits_are_named_with_the_maximum_found(tmp_path, caplog):
    pictures = {"a.png": sixteen_bits(3000), "b.png": sixteen_bits(1500), "c.png": sixteen_bits(60_000)}
    (line,) = warnings_of(pictures, tmp_path, caplog)
    assert line.startswith("d: 2 pictures have 16 bits a pixel and no value above 3000 of 65535")
    assert line.endswith("a.png, b.png; `levels: [0, 4095]` in the view uses the whole range")


@pytest.mark.parametrize(("maximum", "view"), [(4096, {}), (3000, {"levels": [0, 4095]})])
def test_without_reason_nothing_is_said(tmp_path, caplog, maximum, view):
    levels = {"levels": tuple(view["levels"])} if view else {}
    assert warnings_of({"a.png": sixteen_bits(maximum)}, tmp_path, caplog, **levels) == []


def test_a_film_is_named(tmp_path, caplog):
    (line,) = warnings_of({"film.gif": film(), "one.png": sixteen_bits(60_000)}, tmp_path, caplog)
    assert line == "d: 1 picture has several frames or pages, of which the first is used: film.gif"
