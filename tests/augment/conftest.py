"""Small datasets as stage 1 would leave them, written here by hand, and views made of them."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from components.core.config.strict import parse
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.prepare import make_view
from components.stages.fetch.dataset_files import write_arrays, write_index
from components.stages.views.view import open_view


@pytest.fixture
def arrays_out(tmp_path):
    """Write a dataset of layout "arrays": split -> {"image": ..., "label": ..., "text": [...]}."""

    def write(splits, classes, folder="dataset"):
        out = tmp_path / folder
        out.mkdir()
        entries = {}
        for split, columns in splits.items():
            entries[split] = {}
            for column, values in columns.items():
                name = f"{split}.{column}.{'json' if column == 'text' else 'npy'}"
                entries[split][column] = name
                if column == "text":
                    (out / name).write_text(json.dumps(values))
                else:
                    np.save(out / name, values)
        (out / "dataset.json").write_text(json.dumps({"layout": "arrays", "splits": entries, "classes": classes}))
        return out

    return write


@pytest.fixture
def noise_out(arrays_out):
    """60 different grey images of 12 x 12, label = i % 3, font = i % 4, texts; one split "all" (or those of ``cuts``)."""

    def write(channels=1, cuts=None, folder="dataset", order=None):
        rng = np.random.default_rng(5)
        image = rng.integers(0, 256, (60, 12, 12, channels), dtype=np.uint8)
        place = np.arange(60) if order is None else np.asarray(order)
        table = {"image": image[place], "label": place % 3, "font": place % 4}
        splits = {name: {c: v[rows] for c, v in table.items()} for name, rows in (cuts or {"all": slice(None)}).items()}
        for split, rows in (cuts or {"all": slice(None)}).items():
            splits[split]["text"] = [f"picture {i}" for i in place[rows]]
        return arrays_out(splits, {"label": list("abc"), "font": ["f0", "f1", "f2", "f3"]}, folder)

    return write


def rectangles(count=24):
    """Noise below 100 with a rectangle of 220 in each: image uint8 [N, 24, 24], boxes [N, 4], relative (cx, cy, w, h)."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 100, (count, 24, 24), dtype=np.uint8)
    low = rng.integers(0, 14, (count, 2))
    size = rng.integers(4, 11, (count, 2))
    for picture, (x, y), (w, h) in zip(image, low, size, strict=True):
        picture[y : y + h, x : x + w] = 220
    return image, np.concatenate([low + size / 2, size], axis=1) / 24


@pytest.fixture
def annotated(tmp_path):
    """A dataset with every kind of annotation; returns its folder."""

    def write(folder="dataset", change=None):
        image, centres = rectangles()
        count = len(image)
        boxes = [(row[None], [index % 2]) for index, row in enumerate(centres)]
        boxes[3] = (np.zeros((0, 4)), [])  # a picture without boxes ...
        boxes[5] = (np.concatenate([boxes[5][0]] * 3), [0, 1, 0])  # ... and one with three
        values = {
            "columns": {
                "image": image,
                "label": np.arange(count) % 2,
                "group": np.arange(count) // 3,
                "domain": np.arange(count) // 2 % 2,
                "font": np.arange(count) % 4,
            },
            "text": [[f"picture {i}", f"square {i}", "öß"][: 1 + i % 3] for i in range(count)],
            "labels": (np.arange(count)[:, None] >> np.arange(3) & 1).astype(np.float32),
            "boxes": boxes,
        }
        if change:
            change(values)
        (tmp_path / folder).mkdir()
        entry = write_arrays(
            tmp_path / folder, "all", values["columns"], values["text"], labels=values["labels"], boxes=values["boxes"]
        )
        groups = [f"page {i}" for i in range(8)]
        classes = {
            "label": ["a", "b"],
            "group": groups,
            "domain": ["by hand", "printed"],
            "font": list("wxyz"),
            "labels": ["red", "green", "blue"],
            "box_label": ["left", "right"],
        }
        write_index(tmp_path / folder, "arrays", {"all": entry}, classes)
        return tmp_path / folder

    return write


@pytest.fixture
def files_out(tmp_path):
    """Write a dataset of layout "files": [(member name, bytes or PIL image)], class = the folder."""

    def write(members, column="label"):
        out = tmp_path / "dataset"
        out.mkdir()
        with tarfile.open(out / "all.tar", "w") as archive:
            for name, content in members:
                member = tarfile.TarInfo(name)
                data = content if isinstance(content, bytes) else encoded(content, name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        classes = sorted({name.split("/")[0] for name, _ in members})
        index = {"layout": "files", "splits": {"all": {"archive": "all.tar", "column": column}}, "classes": {column: classes}}
        (out / "dataset.json").write_text(json.dumps(index))
        return out

    return write


def encoded(image, name):
    file = io.BytesIO()
    image.save(file, Image.registered_extensions()["." + name.rsplit(".")[-1]])
    return file.getvalue()


@pytest.fixture
def make(tmp_path):
    """A view of a dataset's out, opened."""

    def make_one(dataset, name="small", folder="views", seed=0, **block):
        block = {"dataset": "d", "image_size": 12, "channels": 1, **block}
        settings = parse(ViewSettings, block, f"views.{name}")
        make_view(name, settings, dataset, tmp_path / folder / name, seed)
        return open_view(tmp_path / folder / name)

    return make_one
