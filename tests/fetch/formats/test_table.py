"""A folder with a table: columns, captions, several labels, boxes; from the files to a view."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.core.config.strict import parse
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.prepare import make_view
from components.stages.fetch.files import pictures
from components.stages.fetch.formats.tables.table import Table
from components.stages.views.view import open_view

HEADER = "file,label,group,maker,labels,caption"
LINES = [
    f"{'ab'[i % 2]}/{i:02}.png,{'cat' if i % 2 else 'dog'},page {i // 4},m{i % 3},{'red|big' if i % 3 else ''},one {i}"
    for i in range(16)
]


@pytest.fixture
def folder(tmp_path):
    """16 pictures of 20 x 30 in two folders, listed in list.csv; 00 has two captions; boxes.json has a box in each but 01."""
    root = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for i in range(16):
        (root / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30), dtype=np.uint8)).save(root / "ab"[i % 2] / f"{i:02}.png")
    write(root, [HEADER, *LINES, LINES[0].replace("one 0", '"another, öß"')])
    images = [{"id": i, "file_name": f"{'ab'[i % 2]}/{i:02}.png", "width": 30, "height": 20} for i in range(16)]
    boxes = [{"image_id": i, "category_id": 7 + i % 2, "bbox": [3, 2, 6, 10]} for i in range(16) if i != 1]
    boxes.append({"image_id": 2, "category_id": 7, "bbox": [0, 0, 5, 5], "iscrowd": 1})
    coco = {"images": images, "categories": [{"id": 7, "name": "head"}, {"id": 8, "name": "tail"}], "annotations": boxes}
    (root / "boxes.json").write_text(json.dumps(coco))
    return root


def write(root, lines):
    (root / "list.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def fetch(root, out, **changes):
    out.mkdir()
    block = {"source": "table", "path": root.name, "table": "list.csv", "boxes": "boxes.json"} | changes
    Table.fetch(parse(Table.Settings, block, "datasets.x"), out, 0, root.parent)
    return json.loads((out / "dataset.json").read_text())


def test_everything_comes_through_to_a_batch(folder, tmp_path):
    index = fetch(folder, tmp_path / "out")
    assert index["classes"] == {
        "label": ["cat", "dog"],
        "group": [f"page {i}" for i in range(4)],
        "maker": ["m0", "m1", "m2"],
        "labels": ["big", "red"],
        "box_label": ["head", "tail"],
    }
    block = {
        "dataset": "x",
        "image_size": [20, 30],
        "channels": 1,
        "split": {"by": "group", "test": 0.25},
        "text": {"context_length": 16},
    }
    make_view("v", parse(ViewSettings, block, "views.v"), tmp_path / "out", tmp_path / "view", 0)
    view = open_view(tmp_path / "view")
    assert view.facts.counts == {"train": 12, "test": 4}
    rows = {}
    for split in ("train", "test"):
        names = (*view.split(split).keys[1:], "group", "maker")
        for batch in view.batches(split, 100, names, pixels=True):
            for row, image in enumerate(batch["image"]):
                rows[image.numpy().tobytes()] = {name: batch[name][row].tolist() for name in names}
    for i in range(16):
        with Image.open(folder / "ab"[i % 2] / f"{i:02}.png") as picture:
            row = rows[np.asarray(picture).tobytes()]
        assert (row["label"], row["group"], row["maker"]) == ((i + 1) % 2, i // 4, i % 3)
        assert row["labels"] == ([1.0, 1.0] if i % 3 else [0.0, 0.0])
        assert bytes(row["tokens"]).rstrip(b"\0").decode() == f"one {i}"
        assert row["box_mask"] == [i != 1]
        if i != 1:
            np.testing.assert_allclose(row["boxes"][0], [6 / 30, 7 / 20, 6 / 30, 10 / 20], atol=1e-6)
            assert row["box_label"] == [i % 2]
    texts = [texts for split in ("train", "test") for texts in view.texts(split)]
    assert ["one 0", "another, öß"] in texts


def test_bytes_depend_on_the_files_alone(folder, tmp_path):
    fetch(folder, tmp_path / "one")
    write(folder, [HEADER, *reversed(LINES), LINES[0].replace("one 0", '"another, öß"')])
    fetch(folder, tmp_path / "two")
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_published_splits_come_from_a_column(folder, tmp_path):
    lines = [f"{line.rsplit(',', 1)[0]},{'test' if i % 4 == 0 else 'train'}" for i, line in enumerate(LINES)]
    write(folder, ["file,label,group,maker,labels,split", *lines])
    index = fetch(folder, tmp_path / "out", boxes=None)
    assert sorted(index["splits"]) == ["test", "train"]
    assert "text" not in index["splits"]["test"]
    block = {"dataset": "x", "image_size": [20, 30], "channels": 1}
    with pytest.raises(ValueError, match=r"views\.v\.split: the group 'page 0' is in train and in test"):
        make_view("v", parse(ViewSettings, block, "views.v"), tmp_path / "out", tmp_path / "view", 0)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], r"list\.csv: no column 'file'; the header is empty"),
        (["name,label"], r"no column 'file'; the header is name, label"),
        (["file,label"], r"no image is listed"),
        (["file,label,label", "a/00.png,x,y"], r"the column 'label' stands twice"),
        (["file,La bel", "a/00.png,x"], r"'La bel' cannot be a column's name"),
        (["file,label", "a/00.png"], r"line 2: 1 cells, the header has 2"),
        (["file,label", "a/00.png,"], r"line 2: no label"),
        (["file,label", "a/00.png,x", "a/00.png,y"], r"line 3: a/00\.png has the label 'y' here and 'x' in line 2"),
        (["file,label", "a/00.png,x", "a/00.png,x"], r"line 3: a/00\.png stands in line 2 already"),
        (["file,label", "a/77.png,x"], r"line 2: a/77\.png: no such file"),
        (["file,label", "../list.csv,x"], r"line 2: '\.\./list\.csv' is no path inside the folder"),
        (["file,split", "a/00.png,extra"], r"line 2: the split 'extra' is not allowed: train, validation, test"),
        (["file,tokens", "a/00.png,x"], r"'tokens' cannot be a column"),
    ],
)
def test_a_wrong_table_is_named_with_its_line(folder, tmp_path, lines, message):
    write(folder, lines)
    with pytest.raises(ValueError, match=message):
        fetch(folder, tmp_path / "out", boxes=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [3, 2, 0, 10]}, r"annotation 0 of a/00\.png: the box \[3, 2, 0, 10\] of 'head' has no area"),
        ({"bbox": [25, 2, 10, 10]}, r"annotation 0 of a/00\.png: .* is not inside the picture, 30 x 20 pixels"),
        ({"bbox": [25, 2, 10]}, r"is not \[x, y, w, h\]"),
        ({"category_id": 3}, r"category_id 3 is not listed"),
    ],
)
def test_a_wrong_box_is_named(folder, tmp_path, change, message):
    coco = json.loads((folder / "boxes.json").read_text())
    coco["annotations"][0] |= change
    (folder / "boxes.json").write_text(json.dumps(coco))
    with pytest.raises(ValueError, match=message):
        fetch(folder, tmp_path / "out")


def test_a_path_to_the_table_itself_is_explained(folder, tmp_path):
    with pytest.raises(ValueError, match=r"list\.csv: a file; path names the folder"):
        fetch(folder, tmp_path / "out", path=str(folder / "list.csv"))


def test_all_faults_come_at_once(folder, tmp_path):
    write(folder, ["file,label", "a/00.png,", "a/77.png,x", "../b,x", "b/01.png,cat", "a/02.png,Cat", "a/04.png"])
    with pytest.raises(ValueError, match="pictures: 5 faults") as caught:
        fetch(folder, tmp_path / "out", boxes=None)
    lines = "\n".join(str(caught.value).splitlines()[1:])
    for fault in ("line 7: 1 cells", "line 2: no label", "line 3: a/77", "line 4: '../b'", "'Cat', 'cat' differ only by case"):
        assert fault in lines


def test_other_names_of_columns_and_names_without_suffix(folder, tmp_path):
    write(folder, ["Image ID,species,label,Weight (g),set", "00,cat,x,3,train", "02,dog,y,4,val"])
    other = {"file": "Image ID", "label": "species", "split": "set", "columns": [], "images": "a", "suffix": ".png"}
    index = fetch(folder, tmp_path / "out", boxes=None, **other)
    assert index["classes"] == {"label": ["cat", "dog"]}
    assert set(index["splits"]) == {"train", "validation"}
    with pytest.raises(ValueError, match=r"no column 'kind'; the header is Image ID, species"):
        fetch(folder, tmp_path / "wrong", boxes=None, **other | {"label": "kind"})
    with pytest.raises(ValueError, match=r"'Weight \(g\)' cannot be a column's name: .*; columns: names those to take"):
        fetch(folder, tmp_path / "many", boxes=None, **{key: other[key] for key in other if key != "columns"})


@pytest.mark.parametrize(("delimiter", "words"), [(",", "commas"), (";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_delimiters_are_recognised_and_said(folder, tmp_path, caplog, delimiter, words):
    lines = [["file", "label"], ["a/00.png", '"a, b"'], ["a/02.png", '"c; d"']]
    write(folder, [delimiter.join(line) for line in lines])
    index = fetch(folder, tmp_path / "out", boxes=None)
    assert index["classes"]["label"] == ["a, b", "c; d"]
    assert f"list.csv: cells are divided by {words}" in caplog.text


def test_encodings(folder, tmp_path):
    for encoding, settings in {
        "utf-8": {},
        "utf-8-sig": {},
        "utf-16": {"encoding": "utf-16"},
        "cp1252": {"encoding": "cp1252"},
    }.items():
        (folder / "list.csv").write_text("file,label\na/00.png,Käfer\n", encoding=encoding)
        assert fetch(folder, tmp_path / encoding, boxes=None, **settings)["classes"] == {"label": ["Käfer"]}
    with pytest.raises(ValueError, match=r"list\.csv, line 2: not readable as utf-8; .*cp1252"):
        fetch(folder, tmp_path / "wrong", boxes=None)


def test_parquet_gives_what_csv_gives(folder, tmp_path):
    fetch(folder, tmp_path / "csv", boxes=None)
    rows = [dict(zip(HEADER.split(","), line.split(","), strict=True)) for line in LINES]
    for row in rows:
        row |= {"labels": [name for name in row["labels"].split("|") if name], "caption": [row["caption"]]}
    rows[0]["caption"].append("another, öß")
    pq.write_table(pa.Table.from_pylist(rows), folder / "list.parquet")
    fetch(folder, tmp_path / "parquet", boxes=None, table="list.parquet")
    for path in (tmp_path / "csv").iterdir():
        assert path.read_bytes() == (tmp_path / "parquet" / path.name).read_bytes(), path.name


def test_a_table_that_changes_while_it_packs_is_read_again(folder, tmp_path, monkeypatch):
    packing = pictures.pack_files

    def change(members, archive):
        monkeypatch.undo()
        packing(members, archive)
        write(folder, ["file,label", "a/00.png,new"])

    monkeypatch.setattr(pictures, "pack_files", change)
    assert fetch(folder, tmp_path / "out", boxes=None)["classes"] == {"label": ["new"]}


def test_a_folder_with_captions_alone(folder, tmp_path, caplog):
    """captions.csv: a picture a line, and as many lines a picture as it has captions."""
    (folder / "list.csv").unlink()
    table = folder / "captions.csv"
    lines = ["file,caption", "a/00.png,two dogs", "a/00.png,two dogs", 'a/00.png,"dogs, two"', "b/01.png,a cat"]

    def index(name, *more, data=None):
        table.write_bytes("\n".join([*lines, *more]).encode() if data is None else data)
        return fetch(folder, tmp_path / name, table=None, boxes=None)

    assert index("out")["classes"] == {}
    assert json.loads((tmp_path / "out/all.text.json").read_text()) == [["two dogs", "two dogs", "dogs, two"], ["a cat"]]
    for line in ("1 captions stand twice for their picture (1 pictures)", "14 images are not in the table"):
        assert line in caplog.text
    for name, more, message in (
        ("no picture", "a/99.png,a bird", r"captions\.csv, line 6: a/99\.png: no such file"),
        ("no caption", "b/03.png,", r"captions\.csv, line 6: no caption"),
    ):
        with pytest.raises(ValueError, match=message):
            index(name, more)
    with pytest.raises(ValueError, match=r"captions\.csv, line 2: not readable as utf-8; .*cp1252"):
        index("latin", data="file,caption\na/00.png,Käfer\n".encode("cp1252"))


def test_captions_of_flickr(real_data, tmp_path):
    settings = {"source": "table", "path": str(real_data / "flickr8k_1000_128"), "table": "captions.txt", "file": "image"}
    (tmp_path / "out").mkdir()
    Table.fetch(parse(Table.Settings, settings | {"images": "images"}, "datasets.x"), tmp_path / "out", 0, tmp_path)
    texts = json.loads((tmp_path / "out/all.text.json").read_text())
    assert (len(texts), {len(text) for text in texts}) == (1000, {5})
