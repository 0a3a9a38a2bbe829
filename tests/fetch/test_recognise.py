"""What a folder or file of pictures is recognised as, and that the source then reads it with these settings."""

import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from components.core import catalogue
from components.core.config.strict import parse
from components.stages.fetch.recognise import recognise


def draw(root, *names, width=30, height=20, orientation=1):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((height, width, 3), number, np.uint8)).save(root / name, exif=exif)
    return root


def fetched(found, path, out):
    """The index of the dataset that the recognised source makes with the recognised settings."""
    source = catalogue.load("source", found.source, "x")
    out.mkdir()
    block = {"source": found.source, "path": str(path)} | found.settings
    source.fetch(parse(source.Settings, block, "datasets.x"), out, 0, out)
    return json.loads((out / "dataset.json").read_text())


def test_folders_of_classes_with_sizes_as_displayed(tmp_path):
    root = draw(tmp_path / "p", *(f"{split}/{name}/{i}.jpg" for split in ("train", "val") for name in "ab" for i in range(3)))
    draw(root, "train/a/upright.jpg", orientation=6)
    found = recognise(root)
    assert (found.source, found.settings, found.classes, found.faults) == ("folder", {}, {"a": 7, "b": 6}, [])
    assert (set(found.splits), found.files, set(found.sizes)) == ({"train", "validation"}, 13, {(30, 20), (20, 30)})
    assert len(found.sample) == 13
    assert set(fetched(found, root, tmp_path / "out")["splits"]) == {"train", "validation"}


def test_faults_come_all_at_once_and_raise_nothing(tmp_path):
    root = draw(tmp_path / "p", "circle/1.png", "Circle/2.png")
    (root / "circle/broken.png").write_bytes(b"no picture")
    (root / "circle/notes.txt").write_bytes(b"")
    found = recognise(root)
    assert found.source == "folder"
    text = "\n".join(found.faults)
    for words in ("'Circle', 'circle' differ only by case", "notes.txt: no image", "circle/broken.png: no readable picture"):
        assert words in text


@pytest.mark.parametrize(
    ("lines", "settings"),
    [
        (["file,label", "imgs/0.png,a", "imgs/1.png,b"], {}),
        (["image,class,patient,note", "0.png,a,x,1", "1.png,b,y,2"],
         {"file": "image", "label": "class", "group": "patient", "images": "imgs", "columns": []}),
        (["id;species;split", "0;a;train", "1;b;test"],
         {"file": "id", "label": "species", "images": "imgs", "suffix": ".png"}),
        (["name,animal", "imgs/0.png,a", "imgs/1.png,b", "imgs/2.png,a", "imgs/3.png,b"], {"file": "name", "label": "animal"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("point", ["", "list.csv"])
def test_a_table_beside_pictures(tmp_path, lines, settings, point):
    root = draw(tmp_path / "p", *(f"imgs/{i}.png" for i in range(4)))
    (root / "list.csv").write_text("\n".join(lines))
    found = recognise(root / point)
    assert (found.source, found.faults) == ("table", [])
    assert found.settings == {"table": "list.csv"} | settings | ({"path": str(root)} if point else {})
    assert found.classes == {"a": len(lines) // 2, "b": len(lines) // 2}
    assert fetched(found, root, tmp_path / "out")["classes"]["label"] == ["a", "b"]


def test_a_table_without_a_header_is_a_fault(tmp_path):
    root = draw(tmp_path / "p", "0.png", "1.png")
    (root / "list.csv").write_text("0.png,a\n1.png,b\n")
    (fault,) = recognise(root).faults
    assert "no header; write a first line" in fault


def test_what_lies_beside_class_folders_does_not_hide_them(tmp_path):
    root = draw(tmp_path / "p", "a/0.png", "b/1.png")
    (root / "files.csv").write_text("file,bytes\na/0.png,1\nb/1.png,2\n")  # says nothing of their classes
    (root / "notes.csv").write_text("by,when\nme,now\n")
    with tarfile.open(root / "all.tar", "w") as tar:
        tar.add(root / "a/0.png", "0.png")
    found = recognise(root)
    assert (found.source, found.classes, found.faults) == ("folder", {"a": 1, "b": 1}, [])


def test_what_nobody_reads_is_said(tmp_path):
    assert recognise(tmp_path / "none").faults == [f"{tmp_path}/none: no such file or folder"]
    assert "not recognised; known are folders of classes, a table" in recognise(draw(tmp_path, "1.png")).faults[0]


def test_the_home_folder_is_written_out(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    draw(tmp_path / "p", "a/1.png", "b/1.png")
    assert recognise("~/p").files == 2
