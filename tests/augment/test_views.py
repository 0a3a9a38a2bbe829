"""From a dataset's out to a view and back."""

import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from components.core.batch import check
from components.core.config.strict import parse
from components.core.settings import ROOT, Workspace
from components.stages.augment import stage
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.prepare import make_view
from components.stages.views.view import open_view

FLIP = [{"Affine": {"rotate": [-20, 20], "p": 1.0}}]


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))}


def test_what_goes_in_comes_back_in_order(noise_out, make):
    cuts = {"train": slice(0, 36), "validation": slice(36, 48), "test": slice(48, 60)}
    dataset = noise_out(cuts=cuts)
    view = make(dataset)
    assert view.facts.counts == {"train": 36, "validation": 12, "test": 12}
    assert view.facts.classes == {"label": ("a", "b", "c"), "font": ("f0", "f1", "f2", "f3")}
    for split in cuts:
        arrays = view.split(split)
        np.testing.assert_array_equal(arrays.images, np.load(dataset / f"{split}.image.npy"))
        np.testing.assert_array_equal(arrays.columns["font"], np.load(dataset / f"{split}.font.npy"))
    assert view.texts("test")[0] == "picture 48"
    assert view.policy is None
    assert (view.folder / "contact.png").is_file()
    assert sorted(path.name for path in view.folder.parent.iterdir()) == ["small"], "no temporary folder is left"


def test_batches_obey_the_contract_and_the_range(noise_out, make):
    view = make(noise_out(channels=3), channels=3, split={"test": 0.3})
    batches = list(view.batches("test", 8))
    assert [len(batch["label"]) for batch in batches] == [8, 8, 2]
    for batch in batches:
        check(batch)
    image = torch.cat([batch["image"] for batch in batches])
    stored = view.split("test").images
    assert (image.min(), image.max()) == (-1, 1)
    np.testing.assert_allclose(image.permute(0, 2, 3, 1).numpy(), stored / 127.5 - 1, atol=1e-6)
    assert set(next(view.batches("test", 4, ["font"]))) == {"image", "font"}
    with pytest.raises(ValueError, match=r"no split 'validation'; it has train, test"):
        view.split("validation")
    with pytest.raises(ValueError, match=r"no column 'fnt'; it has font, label"):
        view.batches("test", 4, ["fnt"])


def test_statistics_are_those_of_the_training_images(noise_out, make):
    view = make(noise_out(channels=3), channels=3, split={"validation": 0.2, "test": 0.2})
    images = view.split("train").images.astype(np.float64) / 127.5 - 1
    np.testing.assert_allclose(view.facts.mean, images.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(view.facts.std, images.std((0, 1, 2)), rtol=1e-12)


def test_constant_images_have_a_standard_deviation_to_divide_by(arrays_out, make):
    view = make(arrays_out({"all": {"image": np.full((4, 12, 12), 50, np.uint8), "label": np.zeros(4, int)}}, {"label": ["a"]}))
    assert view.facts.std == (1 / 127.5,)
    assert view.facts.counts == {"train": 4}, "one class and one split will do"


def test_two_runs_in_two_folders_write_the_same_bytes(noise_out, make):
    block = {"split": {"validation": 0.2, "test": 0.2}, "augment": FLIP, "copies": 1, "image_size": 16}
    first = make(noise_out(folder="one"), folder="a/deep/place", **block)
    second = make(noise_out(folder="two"), folder="b", **block)
    assert contents(first.folder) == contents(second.folder)
    assert make(noise_out(folder="three"), folder="c", seed=1, **block).facts.digest != first.facts.digest


def test_copies_follow_the_originals_and_end_the_drawing(noise_out, make):
    block = {"split": {"test": 0.5}, "augment": FLIP}
    plain, copied = make(noise_out(), folder="a", **block), make(noise_out(folder="again"), folder="b", copies=2, **block)
    count = plain.facts.counts["train"]
    assert copied.facts.counts == {"train": 3 * count, "test": plain.facts.counts["test"]}
    original, first, second = np.split(copied.split("train").images, 3)
    np.testing.assert_array_equal(original, plain.split("train").images)
    assert (original != first).any(axis=(1, 2, 3)).all()
    assert (first != second).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(copied.split("train").columns["label"], np.tile(plain.split("train").columns["label"], 3))
    assert copied.texts("train") == plain.texts("train") * 3
    assert plain.policy is not None
    assert copied.policy is None


def test_another_column_becomes_the_label(noise_out, make):
    view = make(noise_out(), label="font", split={"test": 0.2})
    arrays = view.split("train")
    np.testing.assert_array_equal(arrays.columns["label"], arrays.columns["font"])
    assert view.facts.classes["label"] == ("f0", "f1", "f2", "f3")
    with pytest.raises(ValueError, match=r"views\.small\.label: 'fnt' is not allowed: the dataset has font, label"):
        make(noise_out(folder="again"), label="fnt")


def test_a_test_split_alone_is_a_view_but_nothing_to_train_on(noise_out, make):
    dataset = noise_out(cuts={"test": slice(0, 20)})
    view = make(dataset)
    assert view.facts.counts == {"test": 20}
    np.testing.assert_allclose(view.facts.mean, (view.split("test").images / 127.5 - 1).mean(), rtol=1e-12)
    with pytest.raises(ValueError, match=r"views\.small\.split: one split to divide is needed.*the dataset has test"):
        make(dataset, split={"validation": 0.2})


def leaky(arrays_out):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (12, 12, 12), dtype=np.uint8)
    image[9] = image[2]
    label = np.arange(12) % 2
    cut = {"train": slice(0, 8), "test": slice(8, 12)}
    return arrays_out({name: {"image": image[rows], "label": label[rows]} for name, rows in cut.items()}, {"label": ["a", "b"]})


def test_a_leak_is_an_error_that_names_the_images(arrays_out, make):
    with pytest.raises(ValueError, match=r"1 train images .*train\.image\.npy\[2\] = test\.image\.npy\[1\]"):
        make(leaky(arrays_out))


def test_a_leak_is_dropped_from_training(arrays_out, make):
    view = make(leaky(arrays_out), leakage="drop")
    assert view.facts.counts == {"train": 7, "test": 4}
    assert json.loads((view.folder / "view.json").read_text())["dropped"]["leaked"] == {"train": 1}
    test = view.split("test").images
    assert not (view.split("train").images[:, None] == test[None]).all((2, 3, 4)).any()


def pictures(count=6):
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (count, 20, 24, 3), dtype=np.uint8)
    return [(f"{'ab'[i % 2]}/{i}.png", Image.fromarray(noise[i])) for i in range(count)]


def test_broken_files_are_named_or_skipped(files_out, make, tmp_path):
    broken = [("a/broken.png", b"\x89PNG\r\n\x1a\nno more"), ("b/text.jpg", b"hello")]
    dataset = files_out([*pictures(), *broken])
    with pytest.raises(ValueError, match=r"unreadable images.*a/broken\.png \(.*; b/text\.jpg \("):
        make(dataset, channels=3)
    assert not (tmp_path / "views").exists() or not any((tmp_path / "views").iterdir()), "a failure leaves nothing"
    view = make(dataset, channels=3, unreadable="skip")
    assert view.facts.counts == {"train": 6}
    dropped = json.loads((view.folder / "view.json").read_text())["dropped"]
    assert dropped == {"leaked": {}, "unreadable": 2, "unreadable_names": ["a/broken.png", "b/text.jpg"]}


def test_no_more_than_five_broken_files_are_named(files_out, make):
    with pytest.raises(ValueError) as caught:
        make(files_out([(f"a/{i}.png", b"broken") for i in range(9)]))
    assert [f"a/{i}.png" in str(caught.value) for i in range(9)] == [True] * 5 + [False] * 4


def test_a_cut_off_archive_is_an_error(files_out, make):
    dataset = files_out(pictures())
    data = (dataset / "all.tar").read_bytes()
    with tarfile.open(dataset / "all.tar") as archive:
        third = archive.getmembers()[2].offset
    for length, message in ((2 * (512 + 2048), ""), (third, ": the archive is cut off"), (0, ": not a readable tar archive")):
        (dataset / "all.tar").write_bytes(data[:length])
        with pytest.raises(ValueError, match=rf"all\.tar{message}"):
            make(dataset, channels=3)


def test_a_dataset_of_domains_has_no_label(files_out, make):
    view = make(files_out(pictures(), column="domain"), channels=3)
    assert set(next(view.batches("train", 4))) == {"image", "domain"}


def test_a_column_becomes_the_domain_beside_the_label(arrays_out, make):
    image = np.random.default_rng(0).integers(0, 256, (6, 12, 12), dtype=np.uint8)
    columns = {"image": image, "label": np.array([0, 0, 1, 1, 0, 1]), "font": np.array([0, 1, 0, 1, 0, 1])}
    dataset = arrays_out({"all": columns}, {"label": ["a", "b"], "font": ["plain", "slanted"]})
    view = make(dataset, domain="font")
    (batch,) = view.batches("train", 6)
    assert (batch["label"].tolist(), batch["domain"].tolist()) == (columns["label"].tolist(), columns["font"].tolist())
    assert view.facts.classes["domain"] == ("plain", "slanted")
    assert "domain" not in make(dataset).facts.classes
    with pytest.raises(ValueError, match=r"views\.small\.domain: 'animal' is not allowed: the dataset has font, label"):
        make(dataset, domain="animal")


def test_a_domain_without_images_is_an_error(arrays_out, make):
    image = np.random.default_rng(0).integers(0, 256, (6, 12, 12), dtype=np.uint8)
    columns = {"image": image, "label": np.array([0, 0, 1, 1, 0, 1]), "font": np.zeros(6, int)}
    dataset = arrays_out({"all": columns}, {"label": ["a", "b"], "font": ["plain", "slanted"]})
    with pytest.raises(ValueError, match=r"views\.small: 1 domains have no training image: slanted"):
        make(dataset, domain="font")


@pytest.mark.parametrize(
    ("labels", "split", "message"),
    [
        ([0, 0, 0, 0, 2, 2], {}, r"views\.small: 1 classes have no training image: b"),
        ([0, 1, 2, 0, 1, 3], {}, r"column 'label' holds 0\.\.3, it has 3 classes"),
        ([0, 1, 2, 0, 1, 2], {"by": "label", "test": ["c"]}, r"no training image: c"),
        ([0, 1, 2, 0, 1, 2], {"test": 0.01}, r"the test split has no images"),
        ([0, 1, 2, 0, 1], {}, r"has 6 images, .* 5 labels"),
    ],
)
def test_missing_or_wrong_classes_are_errors(arrays_out, make, labels, split, message):
    image = np.random.default_rng(0).integers(0, 256, (6, 12, 12), dtype=np.uint8)
    with pytest.raises(ValueError, match=message):
        make(arrays_out({"all": {"image": image, "label": np.array(labels)}}, {"label": ["a", "b", "c"]}), split=split)


def test_captions_of_one_split_alone_are_an_error(noise_out, make):
    dataset = noise_out(cuts={"train": slice(0, 40), "test": slice(40, 60)})
    index = json.loads((dataset / "dataset.json").read_text())
    del index["splits"]["test"]["text"]
    (dataset / "dataset.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"dataset\.json: some splits have texts and some have none"):
        make(dataset)


def test_no_images_is_an_error(arrays_out, make):
    empty = {"image": np.zeros((0, 12, 12), np.uint8), "label": np.zeros(0, int)}
    with pytest.raises(ValueError, match="split all: no images"):
        make(arrays_out({"all": empty}, {"label": ["a"]}))


def test_a_failure_keeps_the_view_that_was_there(noise_out, make):
    dataset = noise_out()
    view = make(dataset)
    before = contents(view.folder)
    with pytest.raises(ValueError):
        make(dataset, split={"by": "nothing", "test": 0.1})
    assert contents(view.folder) == before


def test_published_binary_layouts(tmp_path, make):
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, (20, 3073), dtype=np.uint8)
    records[:, 0] = np.arange(20) % 10
    cifar = tmp_path / "cifar"
    cifar.mkdir()
    (cifar / "one.bin").write_bytes(records[:12].tobytes())
    (cifar / "two.bin").write_bytes(records[12:].tobytes())
    index = {
        "layout": "cifar10",
        "splits": {"train": {"batches": ["one.bin", "two.bin"]}},
        "classes": {"label": list("abcdefghij")},
    }
    (cifar / "dataset.json").write_text(json.dumps(index))
    arrays = make(cifar, image_size=32, channels=3).split("train")
    np.testing.assert_array_equal(arrays.images[13, :, :, 1].ravel(), records[13, 1 + 1024 : 1 + 2048])
    np.testing.assert_array_equal(arrays.columns["label"], records[:, 0])

    mnist = tmp_path / "mnist"
    mnist.mkdir()
    image, label = rng.integers(0, 256, (9, 12, 12), dtype=np.uint8), np.arange(9, dtype=np.uint8) % 3
    (mnist / "i").write_bytes(b"\x00\x00\x08\x03" + np.array(image.shape, ">u4").tobytes() + image.tobytes())
    (mnist / "l").write_bytes(b"\x00\x00\x08\x01" + np.array(label.shape, ">u4").tobytes() + label.tobytes())
    index = {"layout": "idx", "splits": {"train": {"image": "i", "label": "l"}}, "classes": {"label": list("abc")}}
    (mnist / "dataset.json").write_text(json.dumps(index))
    arrays = make(mnist).split("train")
    np.testing.assert_array_equal(arrays.images[..., 0], image)
    np.testing.assert_array_equal(arrays.columns["label"], label)


def test_the_command_says_one_line(noise_out, tmp_path, capsys):
    workspace = tmp_path / "workspace"
    (workspace / "outputs" / "datasets").mkdir(parents=True)
    noise_out().rename(workspace / "outputs" / "datasets" / "noise")
    view = {"dataset": "noise", "image_size": 12, "channels": 1, "split": {"test": 0.2}}
    params = {"pipeline": {"runs": []}, "runs": {}, "links": {}, "detect": {}, "ood": {}, "root": ".", "seed": 0}
    params |= {"datasets": {"noise": {}, "absent": {}}, "views": {"good": view, "early": {**view, "dataset": "absent"}}}
    (workspace / "params.yaml").write_text(json.dumps(params))
    stage.run(Workspace(workspace), "good")
    assert capsys.readouterr().out == "good: 12 x 12 x 1, train 48 + test 12 images, 3 label classes, 4 font classes\n"
    assert open_view(workspace / "outputs/views/good").facts.name == "good"
    with pytest.raises(ValueError, match=r"datasets/absent: no dataset there; `dvc repro fetch@absent` makes it"):
        stage.run(Workspace(workspace), "early")


def test_real_mnist(mirror, tmp_path):
    from components.stages.fetch.idx import Idx

    out = tmp_path / "mnist"
    out.mkdir()
    Idx.fetch(Idx.Settings(source="mnist", path="x"), out, 0, ROOT)
    settings = parse(
        ViewSettings, {"dataset": "mnist", "image_size": 28, "channels": 1, "split": {"validation": 0.1}}, "views.m"
    )
    facts = make_view("m", settings, out, tmp_path / "view", 0)
    assert facts.counts == {"train": 54000, "validation": 6000, "test": 10000}
    assert abs((facts.mean[0] + 1) / 2 - 0.1307) < 0.001
    assert open_view(tmp_path / "view").split("test").columns["label"][:4].tolist() == [7, 2, 1, 0]
