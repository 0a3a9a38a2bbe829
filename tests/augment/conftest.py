"""Small datasets as stage 1 would leave them, written here by hand, and views made of them."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from components.core.strict import parse
from components.stages.augment.policies import ViewSettings
from components.stages.augment.prepare import make_view
from components.stages.augment.views import open_view


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
