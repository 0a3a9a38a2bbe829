"""What is planted in a folder of photographs is found in the report, and refused or kept together if that is asked for."""

import csv
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from components.core.config.strict import parse
from components.core.settings import Workspace
from components.stages.augment import stage
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.prepare import make_view
from components.stages.views.view import open_view

SPLIT = {"by": "image", "validation": 0.2, "test": 0.3}


def scene(seed, size=(40, 52)):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)


def jpeg(image, quality=95):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def plain(count=30):
    return [(f"{'ab'[index % 2]}/{index:02}.jpg", jpeg(scene(index))) for index in range(count)]


def view_of(dataset, folder, **block):
    block = {"dataset": "d", "image_size": 32, "channels": 3, "split": SPLIT, **block}
    make_view("v", parse(ViewSettings, block, "views.v"), dataset, folder / "view", 0, report=folder / "report")
    return open_view(folder / "view"), json.loads((folder / "report" / "quality.json").read_text())


def lines(folder, table):
    with (folder / "report" / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def split_of(folder):
    names = json.loads((folder / "report" / "names.json").read_text())
    return {name: split for split, listed in names.items() for name in listed}


def test_a_clean_folder_has_nothing_to_say(files_out, tmp_path):
    _, quality = view_of(files_out(plain()), tmp_path)
    assert quality["summary"] == []
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == [
        "names.json",
        "quality.json",
        "rows.csv",
        "samples",
    ]


def test_a_published_test_split_alone_has_a_report(arrays_out, tmp_path):
    """As what a detector of the unknown is tried on: there is no training split to compare it with."""
    images = np.random.default_rng(0).integers(0, 256, (60, 12, 12, 1), dtype=np.uint8)
    dataset = arrays_out({"test": {"image": images, "label": np.arange(60) % 2}}, {"label": ["a", "b"]})
    view, quality = view_of(dataset, tmp_path, image_size=12, channels=1, split={"by": "published"})
    assert view.facts.counts == {"test": 60}
    assert quality["told_from_train"] == {}


def test_a_test_split_with_another_frame_is_named(files_out, tmp_path):
    def framed(index):
        picture = scene(index, (40, 40))
        picture.paste("white", (0, 0, 40, 8 * (index < 90)))
        return jpeg(picture)

    dataset = files_out([(f"{'ab'[index % 2]}/{index:03}.jpg", framed(index)) for index in range(180)])
    archive = dataset / "all.tar"
    index = json.loads((dataset / "dataset.json").read_text())
    for split, kept in (("train", lambda name: name < "090"), ("test", lambda name: name >= "090")):
        with tarfile.open(archive) as whole, tarfile.open(dataset / f"{split}.tar", "w") as part:
            for member in whole.getmembers():
                if kept(member.name.partition("/")[2]):
                    part.addfile(member, whole.extractfile(member))
        index["splits"][split] = index["splits"]["all"] | {"archive": f"{split}.tar"}
    del index["splits"]["all"]
    (dataset / "dataset.json").write_text(json.dumps(index))
    _, quality = view_of(dataset, tmp_path, split={"by": "image", "validation": 0.2})
    assert quality["told_from_train"]["test"] > 0.95
    (line,) = quality["summary"]
    assert line.startswith("WARNING: the test pictures are unlike the training pictures (simple features tell them apart")


def test_a_planted_near_duplicate_is_found_across_splits_and_kept_on_one_side_if_asked(files_out, tmp_path):
    copies = [
        (f"{name[0]}/copy {name[2:]}", jpeg(scene(index).resize((44, 34)), 70)) for index, (name, _) in enumerate(plain(12))
    ]
    dataset = files_out([*plain(), *copies])
    _, quality = view_of(dataset, tmp_path / "listed")
    found = {(line["name"], line["other_name"]) for line in lines(tmp_path / "listed", "duplicates")}
    assert {frozenset(pair) for pair in found} == {frozenset((name, f"{name[0]}/copy {name[2:]}")) for name, _ in plain(12)}
    split = split_of(tmp_path / "listed")
    apart = [pair for pair in found if split[pair[0]] != split[pair[1]]]
    assert len(apart) == quality["duplicates"]["two_splits"] > 0
    assert f"WARNING: {len(apart)} pairs are nearly the same picture in two splits" in quality["summary"][0]

    _, quality = view_of(dataset, tmp_path / "equal", near_duplicates="equal")
    split = split_of(tmp_path / "equal")
    assert all(split[first] == split[second] for first, second in found)
    assert quality["duplicates"]["two_splits"] == 0
    assert quality["duplicates"]["near"] == 12


def test_near_duplicates_are_leakage_if_asked(files_out, tmp_path):
    dataset = files_out([*plain(), ("a/copy.jpg", jpeg(scene(0), 60))])
    index = {
        "layout": "files",
        "splits": {"train": {"archive": "all.tar", "column": "label"}},
        "classes": {"label": ["a", "b"]},
    }
    other = {"archive": "test.tar", "column": "label"}
    (dataset / "test.tar").write_bytes((dataset / "all.tar").read_bytes())
    (dataset / "dataset.json").write_text(json.dumps(index | {"splits": index["splits"] | {"test": other}}))
    with pytest.raises(ValueError, match=r"31 train images are in another split too"):
        view_of(dataset, tmp_path / "exact", split={})
    with pytest.raises(ValueError, match=r"31 train images are in another split too"):
        view_of(dataset, tmp_path / "near", split={}, near_duplicates="equal", near_distance=4)


def test_near_copies_of_a_published_test_split_are_dropped_if_asked(arrays_out, tmp_path):
    pictures = np.stack([np.asarray(scene(index, (32, 32))) for index in range(12)])
    copies = np.clip(pictures[:3].astype(int) + 5, 0, 255).astype(np.uint8)
    splits = {
        "train": {"image": np.concatenate([pictures[:8], copies]), "label": np.array([0, 1] * 4 + [0, 1, 0])},
        "test": {"image": np.concatenate([pictures[8:], pictures[5:6] // 2]), "label": np.array([0, 1, 0, 1, 1])},
    }
    splits["test"]["image"][0] = np.asarray(Image.open(io.BytesIO(jpeg(Image.fromarray(pictures[3]), 80))))
    dataset = arrays_out(splits, {"label": ["a", "b"]})
    assert view_of(dataset, tmp_path / "kept", split={})[0].facts.counts == {"train": 11, "test": 5}
    view, _ = view_of(dataset, tmp_path / "dropped", split={}, near_duplicates="equal", leakage="drop")
    assert view.facts.counts == {"train": 10, "test": 5}
    with pytest.raises(ValueError, match=r"1 train images .*train.image.npy\[3\] = test.image.npy\[0\]"):
        view_of(dataset, tmp_path / "refused", split={}, near_duplicates="equal")


@pytest.fixture
def conflicting(files_out):
    """The same file in two classes, and a re-encoded copy of another in the other class."""
    return files_out([*plain(), ("b/twin.jpg", plain()[4][1]), ("a/near twin.jpg", jpeg(scene(7), 70))])


def test_the_same_picture_in_two_classes_is_said_loudly(conflicting, tmp_path):
    view, quality = view_of(conflicting, tmp_path)
    assert sum(view.facts.counts.values()) == 32
    assert quality["duplicates"]["two_classes"] == 2
    assert quality["duplicates"]["two_classes_equal"] == 1
    assert quality["summary"][0].startswith("WARNING: 2 pairs are the same picture in two classes (1 with equal pixels")
    assert "a/04.jpg (a) = b/twin.jpg (b)" in quality["summary"][0]
    assert (tmp_path / "report" / "quality.png").read_bytes()[:4] == b"\x89PNG"


def test_the_same_picture_in_two_classes_is_an_error_or_left_out(conflicting, tmp_path):
    with pytest.raises(ValueError, match=r"views\.v: 2 images are the same in two classes .*a/04.jpg \(a\) = b/twin.jpg \(b\)"):
        view_of(conflicting, tmp_path / "error", conflicts="error")
    view_of(conflicting, tmp_path / "drop", conflicts="drop")
    assert {"a/04.jpg", "b/twin.jpg"} & set(split_of(tmp_path / "drop")) == set()
    assert json.loads((tmp_path / "drop/view/view.json").read_text())["dropped"]["conflicts"] == 2
    view_of(conflicting, tmp_path / "near", conflicts="drop", near_duplicates="equal")
    assert len(split_of(tmp_path / "near")) == 28


def test_odd_pictures_and_small_classes_are_named(files_out, tmp_path):
    odd = {
        "c/blank.png": Image.new("RGB", (40, 40), (90, 120, 30)),
        "c/long.png": scene(50, (40, 200)),
        "c/tiny.png": scene(51, (10, 12)),
        "c/night.png": Image.fromarray(np.asarray(scene(52)) // 20),
    }
    _, quality = view_of(files_out([*plain(), *odd.items()]), tmp_path)
    assert {(line["name"], line["fault"]) for line in lines(tmp_path, "odd")} == {
        ("c/blank.png", "blank"),
        ("c/long.png", "elongated"),
        ("c/tiny.png", "small"),
        ("c/night.png", "dark"),
    }
    assert quality["classes_with_few_pictures"] == {"c": 4}
    assert any(line == "1 classes have fewer than 5 pictures: c 4" for line in quality["summary"])
    assert quality["sizes"] == {"smallest": [10, 12], "median": [40, 52], "largest": [40, 200]}


def test_a_planted_wrong_label_is_found(arrays_out, tmp_path):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:24, :24] - 11.5
    masks = [x**2 + y**2 < 64, (np.abs(x) < 8) & (np.abs(y) < 8), (np.abs(x) < 3) | (np.abs(y) < 3)]
    labels = np.arange(240) % 3
    images = np.stack([np.roll(masks[label], rng.integers(-2, 3, 2), (0, 1)) * 180.0 for label in labels])
    images = np.clip(images + rng.normal(30, 15, images.shape), 0, 255).astype(np.uint8)
    labels[100] = 0  # it is a square
    dataset = arrays_out({"all": {"image": images, "label": labels}}, {"label": ["disc", "square", "cross"]})
    _, quality = view_of(dataset, tmp_path, image_size=24, channels=1)
    (suspect,) = quality["label_errors"]["suspects"]
    assert (suspect["name"], suspect["label"], suspect["suggested"]) == ("all.image.npy[100]", "disc", "square")
    names = json.loads((tmp_path / "report" / "names.json").read_text())
    assert names[suspect["split"]][suspect["row"]] == suspect["name"]
    assert lines(tmp_path, "label_errors")[0]["margin"] == str(suspect["margin"])


def test_the_report_is_of_the_pictures_before_their_corruption_and_the_same_bytes_twice(conflicting, tmp_path):
    for folder in ("one", "two"):
        view_of(conflicting, tmp_path / folder)
    view_of(conflicting, tmp_path / "corrupt", corrupt=[{"GaussNoise": {"std_range": [0.5, 0.5]}}])
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one/report").rglob("*") if path.is_file())
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)
    assert (tmp_path / "corrupt/report/quality.json").read_bytes() == (tmp_path / "one/report/quality.json").read_bytes()


def test_the_stage_prints_the_summary_and_is_silent_without_quality(conflicting, tmp_path, capsys):
    workspace = tmp_path / "workspace"
    (workspace / "outputs" / "datasets").mkdir(parents=True)
    conflicting.rename(workspace / "outputs" / "datasets" / "mine")
    view = {"dataset": "mine", "image_size": 32, "channels": 3, "split": SPLIT}
    params = {"pipeline": {"runs": []}, "runs": {}, "links": {}, "detect": {}, "ood": {}, "root": ".", "seed": 0}
    params |= {"datasets": {"mine": {}}, "views": {"loud": view, "silent": view | {"quality": False}}}
    (workspace / "params.yaml").write_text(json.dumps(params))
    stage.run(Workspace(workspace), "loud")
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("loud: 32 x 32 x 3")
    assert second.startswith("  WARNING: 2 pairs are the same picture in two classes")
    stage.run(Workspace(workspace), "silent")
    assert len(capsys.readouterr().out.splitlines()) == 1
    report = workspace / "outputs" / "view_report" / "silent"
    assert sorted(path.name for path in report.iterdir()) == ["names.json", "rows.csv", "samples"]
