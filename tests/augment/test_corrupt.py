"""``corrupt``: every image of every split is changed once, when the view is written, and never again."""

import numpy as np
import pytest

from components.core.config.strict import SettingsError, parse
from components.stages.augment import write
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.policy.validation import validate_policy

NOISE = {"GaussNoise": {"std_range": [0.2, 0.2]}}
SPLIT = {"by": "image", "validation": 0.2, "test": 0.2}


def images(view):
    """split -> uint8 [N, H, W, C], in the dataset's order within a split."""
    return {split: view.split(split).images for split in view.facts.counts}


def test_every_image_of_every_split_is_corrupted_and_labels_stay(noise_out, make):
    dataset = noise_out()
    plain = make(dataset, "plain", split=SPLIT)
    inverted = make(dataset, "inverted", split=SPLIT, corrupt=[{"InvertImg": None}])  # whose own p would be 0.5
    assert list(plain.facts.counts) == ["train", "validation", "test"]
    for split, before in images(plain).items():
        np.testing.assert_array_equal(images(inverted)[split], 255 - before)
        np.testing.assert_array_equal(inverted.split(split).columns["label"], plain.split(split).columns["label"])
    assert inverted.facts.mean[0] == pytest.approx(-plain.facts.mean[0])
    assert inverted.facts.digest != plain.facts.digest


def test_draws_are_functions_of_seed_and_place(noise_out, make):
    dataset = noise_out()
    whole = images(make(dataset, "whole", corrupt=[NOISE]))["train"]
    again = images(make(dataset, "again", corrupt=[NOISE]))["train"]
    np.testing.assert_array_equal(whole, again)
    assert (whole != images(make(dataset, "other", seed=1, corrupt=[NOISE]))["train"]).mean() > 0.5
    noise = whole.astype(int) - images(make(dataset, "plain"))["train"]
    assert len(np.unique(noise.reshape(60, -1), axis=0)) == 60  # no image has another's noise
    parts = images(make(dataset, "parts", split=SPLIT, corrupt=[NOISE]))
    pixels = {image.tobytes() for part in parts.values() for image in part}
    assert pixels == {image.tobytes() for image in whole}  # in whichever split an image is


def test_no_image_has_the_draws_of_another_however_many_are_handled_at_once(noise_out, make, monkeypatch):
    """Of images and of augmented copies: 60 images in parts of 20."""
    monkeypatch.setattr(write, "CHUNK", 20 * 12 * 12)
    dataset = noise_out()
    before = images(make(dataset, "plain"))["train"].astype(int)
    corrupted = images(make(dataset, "corrupted", corrupt=[NOISE]))["train"]
    copy = images(make(dataset, "copied", augment=[{"GaussNoise": NOISE["GaussNoise"] | {"p": 1.0}}], copies=1))["train"][60:]
    for noisy in (corrupted, copy):
        inside = (noisy > 0) & (noisy < 255)  # where nothing is clipped
        noise = np.where(inside, noisy - before, 0).reshape(60, -1)
        agree = [(noise[i] == noise[i - 20])[(inside[i] & inside[i - 20]).ravel()].mean() for i in range(20, 60)]
        assert max(agree) < 0.3


def test_sixteen_mebibytes_of_images_are_handled_at_once_and_one_image_at_least():
    """The draws of copies and of corruptions go by these parts: others would change every such view."""
    for side, count, parts in ((2048, 5, [4, 1]), (4200, 2, [1, 1])):
        images = np.broadcast_to(np.zeros((), np.uint8), (count, side, side, 1))
        assert [len(part["image"]) for part in write.original_chunks({"image": images}, np.arange(count))] == parts


def test_the_digest_of_a_view_is_of_all_that_is_written(tmp_path):
    numbers = np.arange(6)

    def digest(call):
        writer = write.Writer(tmp_path)
        call(writer)
        return writer.digest

    def written(number):
        return lambda writer: (np.save(tmp_path / "train.boxes.npy", numbers * number), writer.moving("train", "boxes"))

    images = numbers.astype(np.uint8).reshape(1, 2, 3, 1)
    pixels = (images, images + 1, images.reshape(1, 3, 2, 1))
    calls = [
        *(lambda w, a=a: w.pictures("train", 1, iter([{"image": a}])) for a in pixels),
        *(lambda w, a=a: w.column("train", "label", a) for a in (numbers, numbers[::-1])),
        *(lambda w, s=s: w.column(s, "font", numbers) for s in ("train", "test")),
        *(lambda w, a=a: w.array("train", "labels", a) for a in (numbers, numbers + 1.0, numbers.reshape(2, 3))),
        *(lambda w, t=t: w.texts("train", t) for t in (["a", "ö"], ["a", "b"])),
        *(written(number) for number in (1, 2)),
    ]
    assert len({digest(call) for call in calls}) == len(calls)
    write.Writer(tmp_path).texts("train", ["a", "ö"])
    assert (tmp_path / "train.text.json").read_text(encoding="utf-8") == '[\n"a",\n"ö"\n]\n', "as in every view until now"


def test_the_policy_of_augment_is_independent_of_it(noise_out, make):
    dataset = noise_out()
    flip = [{"HorizontalFlip": {"p": 1.0}}]
    view = make(dataset, "both", augment=flip, corrupt=[NOISE])
    assert view.policy == make(dataset, "augmented", augment=flip).policy
    assert make(dataset, "corrupted", corrupt=[NOISE]).policy is None
    copied = make(dataset, "copied", augment=flip, copies=1, corrupt=[NOISE])
    first, copy = np.split(copied.split("train").images, 2)
    np.testing.assert_array_equal(copy, first[:, :, ::-1])


def test_equal_images_are_found_before_they_are_corrupted(arrays_out, make):
    image = np.random.default_rng(0).integers(0, 256, (4, 12, 12), dtype=np.uint8)
    splits = {"train": {"image": image, "label": np.array([0, 1, 0, 1])}, "test": {"image": image[:1], "label": np.array([0])}}
    with pytest.raises(ValueError, match="1 train images are in another split too"):
        make(arrays_out(splits, {"label": ["a", "b"]}), corrupt=[NOISE])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"GausBlur": {}}, r"views\.v\.corrupt\.0: .*no transform 'GausBlur'"),
        ({"GaussNoise": {"std": 1}}, r"views\.v\.corrupt\.0\.GaussNoise: unknown argument 'std'"),
        ({"GaussNoise": 0.3}, r"views\.v\.corrupt\.0: .*one transform an entry"),
        ({"CenterCrop": {"height": 8, "width": 8}}, r"views\.v\.corrupt: .*into uint8 \(8, 8, 1\)"),
    ],
)
def test_a_faulty_entry_is_an_error_that_names_its_key(entry, message):
    settings = parse(ViewSettings, {"dataset": "d", "image_size": 16, "channels": 1, "corrupt": [entry]}, "views.v")
    with pytest.raises(SettingsError, match=message):
        validate_policy("v", settings)
