"""Hugging Face data sets: Arrow files of save_to_disk and Parquet shards, written here by pyarrow in the same form."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.core.config.strict import parse
from components.stages.augment.raw.layouts import read_dataset
from components.stages.fetch.formats.arrow.huggingface import HuggingFace
from components.stages.fetch.recognise import recognise

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CLASS = {"names": ["cat", "dog"], "_type": "ClassLabel"}
FEATURES = {"image": {"_type": "Image"}, "label": CLASS, "text": {"dtype": "string", "_type": "Value"}}


def picture(value, size=(16, 12), orientation=1):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(file, "PNG", exif=exif)
    return file.getvalue()


def rows(numbers):
    return [
        {"image": {"bytes": picture(i), "path": f"/home/me/{i}.png"}, "label": i % 2, "text": f"one {i}", "patient": i // 4}
        for i in numbers
    ]


SCHEMA = [("image", IMAGE), ("label", pa.int64()), ("text", pa.string()), ("patient", pa.int32())]


def table(content, schema=SCHEMA, features=FEATURES):
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.Table.from_pylist(content, schema=pa.schema(schema).with_metadata(metadata))


def save_to_disk(folder, content, **given):
    """Write the form of Dataset.save_to_disk: an Arrow stream in batches of three rows, and state.json."""
    folder.mkdir(parents=True)
    made = table(content, **given)
    with pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file, pa.ipc.new_stream(file, made.schema) as stream:
        stream.write_table(made, max_chunksize=3)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": "x"}))


def fetch(folder, out, **settings):
    out.mkdir()
    block = {"source": "huggingface", "path": str(folder)} | settings
    HuggingFace.fetch(parse(HuggingFace.Settings, block, "datasets.x"), out, 0, out)
    return read_dataset(out)


@pytest.fixture(params=["arrow", "parquet"])
def folder(request, tmp_path):
    """A set with splits train (8 rows) and test (4 rows)."""
    root = tmp_path / "set"
    if request.param == "arrow":
        save_to_disk(root / "train", rows(range(8)))
        save_to_disk(root / "test", rows(range(8, 12)))
        (root / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
        return root
    (root / "data").mkdir(parents=True)
    for number, part in enumerate((range(5), range(5, 8))):
        pq.write_table(table(rows(part)), root / f"data/train-{number:05}-of-00002.parquet", row_group_size=2)
    pq.write_table(table(rows(range(8, 12))), root / "data/test-00000-of-00001-abcdef.parquet")
    return root


def test_rows_become_pictures(folder, tmp_path, caplog):
    found = recognise(folder)
    assert (found.source, found.settings, found.faults) == ("huggingface", {}, [])
    assert (found.classes, found.captions, set(found.sizes)) == ({"cat": 6, "dog": 6}, True, {(16, 12)})
    raw, classes = fetch(folder, tmp_path / "out", columns=["patient"])
    assert classes == {"label": ("cat", "dog"), "patient": ("0", "1", "2")}
    assert {split: len(part) for split, part in raw.items()} == {"train": 8, "test": 4}
    assert list(raw["train"].pictures()) == [picture(i) for i in range(8)]
    assert raw["train"].columns["label"].tolist() == [0, 1] * 4
    assert raw["train"].columns["patient"].tolist() == [0] * 4 + [1] * 4
    assert raw["test"].annotations.texts == [[f"one {i}"] for i in range(8, 12)]
    assert [raw["train"].name(i).rpartition("-")[2] for i in range(8)] == [f"{i}.png" for i in range(8)]
    fetch(folder, tmp_path / "again", columns=["patient"])
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_boxes_and_lists_of_classes(tmp_path):
    objects = pa.struct([("bbox", pa.list_(pa.list_(pa.float32()))), ("category", pa.list_(pa.int64()))])
    schema = [
        ("image", IMAGE),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("objects", objects),
        ("tags", pa.list_(pa.int64())),
    ]
    features = {
        "image": {"_type": "Image"},
        "objects": {
            "feature": {"bbox": {}, "category": {"names": ["ship", "car"], "_type": "ClassLabel"}},
            "_type": "Sequence",
        },
        "tags": {"feature": {"names": ["big", "red"], "_type": "ClassLabel"}, "_type": "Sequence"},
    }
    frame = {"width": 16, "height": 12, "tags": [1]}
    boxes = {"bbox": [[4, 3, 8, 6]], "category": [1]}
    content = [
        {"image": {"bytes": picture(0), "path": None}, "objects": boxes, **frame},
        {"image": {"bytes": picture(1, orientation=6), "path": None}, "objects": boxes, **frame},
        {"image": {"bytes": picture(2), "path": None}, "objects": {"bbox": [], "category": []}, **frame, "tags": []},
    ]
    save_to_disk(tmp_path / "set", content, schema=schema, features=features)
    raw, classes = fetch(tmp_path / "set", tmp_path / "out")
    assert classes == {"labels": ("big", "red"), "box_label": ("ship", "car")}
    assert list(raw["all"].pictures()) == [picture(0), picture(1, orientation=6), picture(2)]
    given = raw["all"].annotations
    assert given.labels.tolist() == [[0, 1], [0, 1], [0, 0]]
    np.testing.assert_allclose(given.boxes.boxes, [[0.5, 0.5, 0.5, 0.5]] * 2, atol=1e-6)
    assert (given.boxes.label.tolist(), given.boxes.image.tolist()) == ([1, 1], [0, 1])
    content[0]["objects"] = {"bbox": [[4, 3, 20, 6]], "category": [0]}
    save_to_disk(tmp_path / "wrong", content, schema=schema, features=features)
    with pytest.raises(ValueError, match=r"row 0: the box \[4\.0, 3\.0, 20\.0, 6\.0\] of 'ship' is not inside the picture"):
        fetch(tmp_path / "wrong", tmp_path / "refused")
    raw, _ = fetch(tmp_path / "wrong", tmp_path / "corners", box_format="xyxy", invalid_boxes="clip")
    np.testing.assert_allclose(raw["all"].annotations.boxes.boxes[0], [10 / 16, 4.5 / 12, 12 / 16, 3 / 12], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda row: row.update(label=-1), {}, r"row 1: the label '-1' is none of 2 classes"),
        (lambda row: row.update(text=None), {}, r"has no caption"),
        (lambda row: row.update(image={"bytes": None, "path": "/home/me/1.png"}), {}, r"row 1: no bytes of a picture"),
        (lambda row: None, {"label": "kind"}, r"label: no column 'kind'; there are image, label, text, patient"),
        (lambda row: None, {"splits": {"train": "extra"}}, r"no split 'extra'; the set has"),
        (lambda row: row["image"].update(path="a/\u202eb.png"), {}, r"another control character"),
    ],
)
def test_what_cannot_be_taken_is_named(tmp_path, change, settings, message):
    content = rows(range(3))
    change(content[1])
    save_to_disk(tmp_path / "set", content)
    with pytest.raises(ValueError, match=message):
        fetch(tmp_path / "set", tmp_path / "out", **settings)


def test_broken_and_strange_files(tmp_path):
    save_to_disk(tmp_path / "set", rows(range(3)))
    path = tmp_path / "set/data-00000-of-00001.arrow"
    data = path.read_bytes()
    for broken in (data[: len(data) // 2], b"", b"PAR1"):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"data-00000-of-00001\.arrow: not readable"):
            fetch(tmp_path / "set", tmp_path / f"out{len(broken)}")
    (tmp_path / "set/state.json").write_text('{"_data_files": [{"filename": "../../x.arrow"}]}')
    with pytest.raises(ValueError, match="is no path inside the folder"):
        fetch(tmp_path / "set", tmp_path / "out")
    (tmp_path / "set/state.json").write_text('{"_data_files": [], "_indices_files": [{"filename": "i.arrow"}]}')
    with pytest.raises(ValueError, match="flatten_indices"):
        fetch(tmp_path / "set", tmp_path / "out2")


def test_splits_of_other_names_are_chosen(tmp_path):
    for split in ("train", "unsupervised"):
        save_to_disk(tmp_path / "set" / split, rows(range(3)))
    (tmp_path / "set/dataset_dict.json").write_text('{"splits": ["train", "unsupervised"]}')
    with pytest.raises(ValueError, match=r"the split 'unsupervised' is none of train.*splits: \{train: unsupervised\}"):
        fetch(tmp_path / "set", tmp_path / "out")
    assert set(fetch(tmp_path / "set", tmp_path / "chosen", splits={"all": "unsupervised"})[0]) == {"all"}
