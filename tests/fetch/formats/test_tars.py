"""WebDataset: tars are read as they are, and never trusted."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from components.core.config.strict import parse
from components.stages.augment.raw.layouts import read_dataset
from components.stages.fetch.formats.tars.shards import expand
from components.stages.fetch.formats.tars.webdataset import WebDataset
from components.stages.fetch.recognise import recognise


def picture(value):
    file = io.BytesIO()
    Image.fromarray(np.full((12, 16, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def shard(path, members):
    """Write a tar of name -> bytes, or a member as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            data = b"" if isinstance(content, tarfile.TarInfo) else content
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def sample(number, label=b"1", **further):
    return {f"{number:04}.{ext}": data for ext, data in {"png": picture(number), "cls": label, **further}.items()}


@pytest.fixture
def folder(tmp_path):
    """Two shards of training with two samples each, one of validation; class, caption, document."""
    for index, split in enumerate(("train", "train", "val")):
        members = {}
        for number in (2 * index, 2 * index + 1):
            document = {"patient": f"p{index}", "tags": ["big", "red"][: number % 3], "species": ["cat", "dog"][number % 2]}
            members |= sample(
                number, str(number % 2).encode(), txt=f"one {number}".encode(), json=json.dumps(document).encode()
            )
        shard(tmp_path / "set" / f"{split}-{index:06}.tar", members)
    (tmp_path / "set/names.txt").write_text("cat\ndog\n")
    return tmp_path / "set"


def fetch(folder, out, **settings):
    out.mkdir()
    block = {"source": "webdataset", "path": str(folder)} | settings
    WebDataset.fetch(parse(WebDataset.Settings, block, "datasets.x"), out, 0, out)
    return read_dataset(out)


def test_samples_become_pictures_with_names(folder, tmp_path):
    found = recognise(folder)
    assert (found.source, found.settings, found.faults, found.files) == ("webdataset", {}, [], 6)
    places = {"columns": {"group": "json.patient"}, "classes": "names.txt"}
    raw, classes = fetch(folder, tmp_path / "out", **places)
    assert classes == {"label": ("cat", "dog"), "group": ("p0", "p1", "p2")}
    assert {split: len(part) for split, part in raw.items()} == {"train": 4, "validation": 2}
    assert [raw["train"].name(i) for i in range(4)] == [
        "train-000000/0000.png",
        "train-000000/0001.png",
        "train-000001/0002.png",
        "train-000001/0003.png",
    ]
    assert list(raw["train"].pictures()) == [picture(number) for number in range(4)]
    assert raw["validation"].annotations.texts == [["one 4"], ["one 5"]]
    assert raw["validation"].columns["label"].tolist() == [0, 1]


def test_documents_give_classes_and_lists_of_classes(folder, tmp_path):
    raw, classes = fetch(
        folder, tmp_path / "out", label="json.species", labels="json.tags", shards="train-{000000..000001}.tar"
    )
    assert classes == {"label": ("cat", "dog"), "labels": ("big", "red")}
    assert raw["all"].annotations.labels.tolist() == [[0, 0], [1, 0], [1, 1], [0, 0]]
    assert fetch(folder, tmp_path / "numbers", caption="txt")[1] == {"label": ("0", "1")}


def test_recognised_documents(tmp_path):
    documents = ({"label": "cat", "caption": ["a", "b"]}, {"label": "dog", "caption": ["c"]})
    members = {}
    for number, document in enumerate(documents):
        members |= {f"{number}.png": picture(number), f"{number}.json": json.dumps(document).encode()}
    found = recognise(shard(tmp_path / "set/all.tar", members))
    assert found.settings["label"] == "json.label"
    assert (found.classes, found.captions, found.faults) == ({"cat": 1, "dog": 1}, True, [])


def link(kind, target="0000.cls"):
    member = tarfile.TarInfo("0001.cls")
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"../../0001.png": b"x"}, r"'\.\./\.\./0001\.png' is no path inside the folder"),
        ({"/etc/0001.png": b"x"}, r"'/etc/0001\.png' is no path inside"),
        ({"0001.cls": link(tarfile.SYMTYPE, "/etc/passwd")}, r"0001\.cls: a link, device or sparse file is refused"),
        ({"0001.cls": link(tarfile.LNKTYPE)}, r"a link, device or sparse file is refused"),
        ({"0001.cls": link(tarfile.CHRTYPE)}, r"a link, device or sparse file is refused"),
        ({"0001.png": picture(1)}, r"0001: no \.cls"),
        ({"x.png": b"", "x.cls": b"0", "0000.txt": b""}, r"the members of 0000 do not follow one another"),
        ({"0001.cls": b"0"}, r"0001: no picture; it has cls"),
        (sample(1) | {"0001.jpg": b""}, r"0001: several pictures \(png, jpg\); image: chooses one"),
        (sample(1, b"7"), r"the label '7' is none of 2 classes"),
        (sample(1, b"\xff"), r"0001\.cls: no UTF-8 text"),
        ({"0001.heic": b"x", "0001.cls": b"0"}, r"0001\.heic: this Pillow does not decode HEIF"),
    ],
)
def test_what_a_tar_may_not_hold(tmp_path, members, message):
    shard(tmp_path / "set/a.tar", sample(0) | members)
    (tmp_path / "set/names.txt").write_text("cat\ndog\n")
    with pytest.raises(ValueError, match=message):
        fetch(tmp_path / "set", tmp_path / "out", classes="names.txt")


def test_tars_that_are_not_whole_or_compressed(folder, tmp_path):
    whole = (folder / "train-000000.tar").read_bytes()
    for data, message in (
        (whole[:3000], "unexpected end of data"),
        (whole[: -(-len(whole.rstrip(b"\0")) // 512) * 512], "is cut off"),
        (whole + whole, "is damaged, or several tars in one file"),
        (b"no tar" * 200, "not readable as an uncompressed tar"),
    ):
        (folder / "train-000000.tar").write_bytes(data)
        with pytest.raises(ValueError, match=rf"train-000000\.tar: .*{message}"):
            fetch(folder, tmp_path / message.split()[-1])
    (folder / "train-000000.tar").rename(folder / "train-000000.tar.gz")
    with pytest.raises(ValueError, match=r"train-000000\.tar\.gz: a compressed tar cannot be read"):
        fetch(folder, tmp_path / "out")


def test_patterns():
    assert expand("a-{08..11}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert expand("{x,y}{0..1}") == ["x0", "x1", "y0", "y1"]
    with pytest.raises(ValueError, match="more than a million"):
        expand("{0..99999999999}")


def test_shards_that_are_missing_are_all_named(folder, tmp_path):
    with pytest.raises(ValueError, match=r"2 faults\n.*train-000002\.tar: no such file\n.*train-000003"):
        fetch(folder, tmp_path / "out", shards={"train": "train-{000000..000003}.tar", "test": "val-000002.tar"})
