"""Boxes, masks, several labels, captions and groups: from a dataset's files to a batch."""

import numpy as np
import pytest
import torch

from components.core.batch import Stream, check
from components.core.config.strict import SettingsError
from components.serving.placement import centre
from components.serving.text import Tokeniser
from components.stages.augment.contact import draw_sheet, enlarged
from components.stages.augment.raw.annotations import Annotations, RawBoxes, check_annotations
from components.stages.augment.tokens import tokenise
from components.stages.views.draws import Augmenter, Draws, albumentations
from components.stages.views.frames import padded
from components.stages.views.loader import StepBatches, training_batches
from components.stages.views.view import BOXES

SIDE = 24  # of ``annotated``'s pictures

BLOCK = {"image_size": SIDE, "split": {"by": "group", "test": 0.25}, "text": {"context_length": 12}, "fit": "pad"}


def steps(view, stream=None, **options):
    options = {"role": "r", "seed": 0, "start_step": 0, "steps": 3, "workers": 0} | options
    return list(training_batches(view, stream or Stream("main", 8, columns=("font",)), **options))


def test_every_key_is_written_and_read(annotated, make):
    view = make(annotated(), augment=[{"HorizontalFlip": {}}], **BLOCK)
    facts = view.facts
    assert (facts.max_boxes, facts.context_length, facts.masked) == (3, 12, True)
    assert facts.classes["box_label"] == ("left", "right")
    for batch in (*view.batches("test", 4), *view.batches("test", 4, pixels=True), *steps(view)):
        check(batch, ("font",))
    shapes = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in steps(view)[0].items()}
    assert shapes == {
        "image": (torch.uint8, (8, SIDE, SIDE, 1)),
        "image_mask": (torch.bool, (8, SIDE, SIDE)),
        "label": (torch.int64, (8,)),
        "domain": (torch.int64, (8,)),
        "labels": (torch.float32, (8, 3)),
        "boxes": (torch.float32, (8, 3, 4)),
        "box_label": (torch.int64, (8, 3)),
        "box_mask": (torch.bool, (8, 3)),
        "tokens": (torch.int64, (8, 12)),
        "font": (torch.int64, (8,)),
    }
    assert set(next(view.batches("test", 4, ["boxes", "group"]))) == {"image", "boxes", "group"}
    with pytest.raises(ValueError, match=r"no column 'box'; it has .*font.*boxes.*tokens"):
        view.batches("test", 4, ["box"])
    with pytest.raises(ValueError, match=r"stream 'r': view 'small' has no column 'fnt'"):
        steps(view, Stream("main", 8, columns=("fnt",)))
    assert (view.folder / "contact.png").stat().st_size > 1000


def test_the_contact_sheet_shows_a_whole_caption():
    tile = enlarged(np.zeros((SIDE, SIDE, 1), np.uint8))
    first, second = (
        draw_sheet("", "", [[tile]], [f"a child in a pink dress climbs the {what}"]) for what in ("stairs", "ladder")
    )
    assert first != second
    most = [draw_sheet("", "", [[tile]], [" ".join(["word"] * count)]) for count in (100, 101)]
    assert most[0] == most[1]  # what does not fit beside the picture ends in dots


def test_a_batch_that_breaks_the_contract_is_refused():
    image = torch.zeros(2, 1, 4, 4)
    for extra, message in [
        ({"boxes": torch.zeros(2, 5, 3)}, r"batch\['boxes'\] is \(2, 5, 3\), the contract says \[N M 4\]"),
        ({"boxes": torch.zeros(2, 5, 4), "box_mask": torch.ones(2, 4, dtype=torch.bool)}, r"has M=4, another key has M=5"),
        ({"image_mask": torch.ones(2, 4, 5, dtype=torch.bool)}, r"has W=5, another key has W=4"),
        ({"font": torch.zeros(2, dtype=torch.int64)}, r"'font' is not in the contract"),
        ({"labels": torch.zeros(2, 3, dtype=torch.int64)}, r"the contract says torch\.float32 \[N K\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            check({"image": image, **extra})
    check({"image": torch.zeros(2, 4, 4, 1, dtype=torch.uint8), "font": torch.zeros(2, dtype=torch.int64)}, ["font"])


def check_boxes(batch, atol=1e-4):
    """Every box of uint8 images surrounds the bright rectangle; returns how many there are."""
    for image, boxes, mask in zip(
        batch["image"][..., 0].numpy(), batch["boxes"].numpy(), batch["box_mask"].numpy(), strict=True
    ):
        assert (boxes[~mask] == 0).all()
        assert mask.tolist() == sorted(mask.tolist(), reverse=True), "real boxes come first"
        rows, columns = np.nonzero(image >= 150)
        for cx, cy, w, h in boxes[mask] * np.tile(image.shape[::-1], 2):
            expected = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            np.testing.assert_allclose((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), expected, atol=atol)
    return int(batch["box_mask"].sum())


@pytest.mark.parametrize(
    "augment",
    [
        [{"HorizontalFlip": {"p": 1.0}}],
        [{"VerticalFlip": {"p": 0.5}}, {"RandomRotate90": {"p": 1.0}}],
        [{"RandomCrop": {"height": 16, "width": 16}}],
        [
            {"OneOf": {"transforms": [{"HorizontalFlip": {"p": 1.0}}, {"Transpose": {"p": 1.0}}], "p": 0.8}},
            {"CenterCrop": {"height": 16, "width": 16}},
        ],
    ],
    ids=["flip", "turn", "crop", "one of, crop"],
)
def test_boxes_follow_the_image_to_the_pixel(annotated, make, augment):
    cut = any({"RandomCrop", "CenterCrop"} & set(entry) for entry in augment)
    size = {"image_size": 16, "stored_size": SIDE} if cut else {"image_size": SIDE}
    view = make(annotated(), augment=augment, **BLOCK | size)
    assert sum(check_boxes(batch) for batch in steps(view, steps=6)) > 20


def test_boxes_follow_as_compose_moves_them(annotated, make):
    """The same as albumentations' own Compose, given the same transform without chance."""
    import albumentations as A

    crop = {"Crop": {"x_min": 4, "y_min": 6, "x_max": 20, "y_max": 22}}
    view = make(
        annotated(),
        augment=[crop],
        boxes={"min_area": 30.0, "min_visibility": 0.4},
        **BLOCK | {"image_size": 16, "stored_size": SIDE},
    )
    limits = A.BboxParams(format="yolo", label_fields=["rows"], min_area=30.0, min_visibility=0.4, clip=True)
    compose = A.Compose([A.Crop(**crop["Crop"])], bbox_params=limits)
    arrays = view.split("train")
    (batch,) = steps(view, Stream("main", len(arrays)), steps=1)
    kept = 0
    for row, stored in enumerate(arrays.images):
        here = int(np.flatnonzero((batch["image"].numpy() == stored[6:22, 4:20]).all((1, 2, 3)))[0])
        mask = arrays.moving["box_mask"][row]
        labels = arrays.moving["box_label"][row][mask]
        expected = compose(image=stored, bboxes=arrays.moving["boxes"][row][mask], rows=labels)
        found = batch["box_mask"][here].numpy()
        np.testing.assert_allclose(batch["boxes"][here].numpy()[found], np.reshape(expected["bboxes"], (-1, 4)), atol=1e-6)
        assert batch["box_label"][here].numpy()[found].tolist() == [int(label) for label in expected["rows"]]
        kept += int(found.sum())
    assert 0 < kept < arrays.moving["box_mask"].sum(), "the limits drop some boxes, not all"


@pytest.mark.parametrize(
    ("fit", "size"), [("crop", [12, 24]), ("crop", [24, 12]), ("pad", [24, 48]), ("pad", [36, 24]), ("stretch", [24, 48])]
)
def test_fit_moves_boxes(annotated, make, fit, size):
    view = make(annotated(), **BLOCK | {"fit": fit, "image_size": size})
    atol = 1.01 if fit == "stretch" else 1e-4  # an enlarged edge is soft
    assert sum(check_boxes(batch, atol) for batch in view.batches("train", 8, pixels=True)) > 10


def test_the_centre_crop_moves_boxes(annotated, make):
    block = BLOCK | {"image_size": 16, "stored_size": SIDE}
    view = make(annotated(), augment=[{"RandomCrop": {"height": 16, "width": 16}}], **block)
    batches = list(view.batches("train", 8, pixels=True))
    assert sum(check_boxes(batch) for batch in batches) > 10
    assert batches[0]["image_mask"].shape[1:] == (16, 16)


def test_an_evaluation_drops_boxes_by_the_view_s_limits(annotated, make):
    limits = {"min_area": 30.0, "min_visibility": 0.4}
    crop = [{"RandomCrop": {"height": 16, "width": 12}}]
    block = BLOCK | {"image_size": [16, 12], "stored_size": SIDE, "augment": crop, "boxes": limits}
    view = make(annotated(), **block)
    moving, kept = view.split("train").moving, 0
    batches = list(view.batches("train", 5))
    assert {batch["boxes"].shape[1:] for batch in batches} == {(view.facts.max_boxes, 4)}
    found = [(b[m], lab[m]) for batch in batches for b, lab, m in zip(*(batch[name].numpy() for name in BOXES), strict=True)]
    for (boxes, labels), stored, own, mask in zip(found, *(moving[name] for name in BOXES), strict=True):
        expected, rows = centre((SIDE, SIDE), (16, 12)).boxes(stored[mask], **limits)
        np.testing.assert_array_equal(boxes, expected)
        assert labels.tolist() == own[mask][rows].tolist()
        kept += len(rows)
    assert 0 < kept < moving["box_mask"].sum()


def test_the_area_of_a_box_is_measured_in_pixels_of_a_rectangle_too():
    moving = Augmenter([albumentations().NoOp(p=1.0)], limits={"min_area": 4.0, "min_visibility": 0.0})
    for height, width in ((8, 32), (32, 8)):
        sides = np.sqrt(np.float32([[4.4, 4.4], [3.6, 3.6]]) / (height * width))
        boxes = np.concatenate([np.full((2, 2), 0.5, np.float32), sides], axis=1)[None]
        arrays = {"boxes": boxes, "box_label": np.arange(2)[None], "box_mask": np.ones((1, 2), np.bool_)}
        moved = moving.move({"image": np.zeros((1, height, width, 1), np.uint8)} | arrays, Draws.make(1, "area"))
        assert moved["box_label"][moved["box_mask"]].tolist() == [0]


def test_the_images_of_each_class_are_counted_in_training(annotated, noise_out, make):
    """Classes that training has not, the last one too, count 0."""
    view = make(noise_out(folder="fonts"), split={"by": "font", "test": ["f1", "f3"]})
    assert view.class_counts("font").tolist() == [15, 0, 15, 0]
    view = make(annotated("several"), **BLOCK)
    assert view.class_counts("labels").tolist() == view.split("train").labels.sum(axis=0).tolist()


def test_pictures_and_tokens_are_mapped_not_read(annotated, make):
    train = make(annotated(), **BLOCK).split("train")
    for array in (*train.moving.values(), train.captions.tokens):
        assert not array.flags.writeable


def test_a_box_is_kept_by_its_area_however_flat():
    limits = {"min_area": 1.0, "min_visibility": 0.0}
    moving = Augmenter([albumentations().NoOp(p=1.0)], limits=limits)
    boxes = np.float32([[[0.5, 0.5, 1.0, 0.5 / 24], [0.5, 0.5, 0.5 / 24, 1.0], [0.5, 0.5, 0.9 / 24, 1 / 24]]])
    arrays = {
        "image": np.zeros((1, 24, 24, 1), np.uint8),
        "boxes": boxes,
        "box_label": np.arange(3)[None],
        "box_mask": np.ones((1, 3), np.bool_),
    }
    moved = moving.move(arrays, Draws.make(1, "flat"))
    assert moved["box_label"][moved["box_mask"]].tolist() == [0, 1]


@pytest.mark.parametrize(("transform", "result"), [("CenterCrop", r"uint8 \(1, 1, 1\)"), ("ToFloat", r"float32 \(24, 24, 1\)")])
def test_an_image_of_another_size_or_type_is_no_result_whatever_moves_along(transform, result):
    """Assigned to the batch it would be spread or cut to 0 and 1 without a word."""
    library = albumentations()
    made = {"CenterCrop": lambda: library.CenterCrop(1, 1, p=1.0), "ToFloat": lambda: library.ToFloat(p=1.0)}[transform]()
    images = np.full((1, 24, 24, 1), 200, np.uint8)
    for also in ({}, {"image_mask": np.ones((1, 24, 24), np.bool_)}):
        with pytest.raises(ValueError, match=rf"turned uint8 \(24, 24, 1\) into {result}"):
            Augmenter([made]).move({"image": images.copy()} | also, Draws.make(1, "type"))


def test_a_dataset_of_boxes_has_room_for_one_where_no_picture_has_any():
    nothing = (np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    arrays = padded([nothing, nothing])
    assert {name: array.shape for name, array in arrays.items()} == {
        "boxes": (2, 1, 4),
        "box_label": (2, 1),
        "box_mask": (2, 1),
    }
    assert not arrays["box_mask"].any()


def test_the_memory_of_a_batch_covers_its_annotations(annotated, make):
    view = make(annotated(), **BLOCK)
    (batch,) = steps(view, steps=1)
    actual = sum(tensor.numel() * tensor.element_size() for tensor in batch.values())
    for rank in (0, 1):
        mine = slice(8 * rank, 8 * rank + 8)
        assert actual <= StepBatches(view, Stream("main", 16), (0, "r"), mine).nbytes <= 2 * actual


def test_the_mask_follows_the_image(arrays_out, make):
    image = np.random.default_rng(0).integers(1, 256, (4, 12, 24), dtype=np.uint8)
    dataset = arrays_out({"all": {"image": image, "label": np.arange(4) % 2}}, {"label": ["a", "b"]})
    view = make(
        dataset, image_size=24, fit="pad", augment=[{"Affine": {"translate_px": {"x": [-8, 8], "y": [-4, 4]}, "p": 1.0}}]
    )
    (stored,) = view.batches("train", 4)
    assert stored["image_mask"][:, 6:18].all()
    assert not stored["image_mask"][:, :6].any()
    for batch in steps(view, Stream("main", 8)):
        np.testing.assert_array_equal(batch["image_mask"], batch["image"][..., 0] > 0)  # padding and fill are 0


def test_a_caption_is_drawn_by_seed_step_and_place(annotated, make):
    view = make(annotated(), **BLOCK)
    captions = {
        tokenise([caption], Tokeniser("bytes", 12), False).tobytes() for texts in view.texts("train") for caption in texts
    }
    drawn = steps(view, steps=40)
    seen = {row.numpy().astype(np.uint8).tobytes() for batch in drawn for row in batch["tokens"]}
    assert seen == captions, "every caption comes up"
    again = steps(view, start_step=20, steps=40)
    assert all(torch.equal(a["tokens"], b["tokens"]) for a, b in zip(drawn[20:], again, strict=True))
    halves = [steps(view, rank=rank, world=2, steps=2) for rank in (0, 1)]
    joined = [torch.cat([a["tokens"], b["tokens"]]) for a, b in zip(*halves, strict=True)]
    assert all(torch.equal(batch["tokens"], whole) for batch, whole in zip(drawn, joined, strict=False))
    (worker,) = steps(view, workers=1, steps=1)
    assert torch.equal(worker["tokens"], drawn[0]["tokens"])
    (first,) = view.batches("train", 100)
    expected = tokenise([texts[0] for texts in view.texts("train")], Tokeniser("bytes", 12), False)
    np.testing.assert_array_equal(first["tokens"], expected)


def test_tokens_are_those_of_the_text_encoder():
    from components.diffusion.conditions import tokens_of

    texts = ["a", "öß", ""]
    np.testing.assert_array_equal(tokenise(texts, Tokeniser("bytes", 6), False), tokens_of(texts, 6).numpy())
    assert tokenise(["aöß"], Tokeniser("bytes", 4), True).tobytes() == "aö".encode() + b"\0", "cut after a whole character"
    with pytest.raises(ValueError, match=r"'aöß' has 5 bytes, more than context_length, 4; truncate: true"):
        tokenise(["aöß"], Tokeniser("bytes", 4), False)
    with pytest.raises(ValueError, match="NUL"):
        tokenise(["a\0"], Tokeniser("bytes", 4), False)


def test_copies_carry_their_boxes(annotated, make):
    view = make(annotated(), augment=[{"HorizontalFlip": {"p": 1.0}}], copies=1, **BLOCK)
    moving = view.split("train").moving
    half = len(moving["boxes"]) // 2
    mask = moving["box_mask"][:half]
    np.testing.assert_array_equal(moving["box_mask"][half:].sum(1), mask.sum(1))
    np.testing.assert_allclose(
        np.sort(moving["boxes"][half:][..., 0]), np.sort(np.where(mask, 1 - moving["boxes"][:half, :, 0], 0)), atol=1e-6
    )


def test_a_geometric_corruption_moves_boxes(annotated, make):
    view = make(annotated(), corrupt=[{"VerticalFlip": {}}], **BLOCK)
    assert sum(check_boxes(batch) for batch in view.batches("train", 4, pixels=True)) > 10


def outside(values):
    values["boxes"][2] = (np.array([[0.9, 0.5, 0.4, 0.2]]), [0])


def degenerate(values):
    values["boxes"][2] = (np.array([[0.5, 0.5, 0.0, 0.2]]), [0])


def strange_label(values):
    values["boxes"][2] = (np.array([[0.5, 0.5, 0.2, 0.2]]), [2])


def too_much(values):
    values["labels"][1, 2] = 1.5


def no_caption(values):
    values["text"][4] = []


def wrong_width(values):
    values["labels"] = values["labels"][:, :2].copy()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (outside, r"all\.image\.npy\[2\]: the box \(cx, cy, w, h\) = \(0\.9, 0\.5, 0\.4, 0\.2\) .* is not inside the picture"),
        (degenerate, r"all\.image\.npy\[2\]: the box .* has no area"),
        (strange_label, r"all\.image\.npy\[2\]: .* with label 2 has a label that is not from 0 to 1"),
        (too_much, r"labels of all\.image\.npy\[1\] are not all from 0 to 1"),
        (no_caption, r"all\.image\.npy\[4\] has the captions \[\]"),
        (wrong_width, r"labels have the shape \(24, 2\), but there are 3 classes"),
    ],
)
def test_wrong_annotations_name_the_picture(annotated, make, change, message):
    with pytest.raises(ValueError, match=message):
        make(annotated(change=change), **BLOCK)


def test_a_box_may_touch_every_edge_and_reach_over_none():
    edges = np.array([[0.2, 0.5, 0.4, 0.2], [0.8, 0.5, 0.4, 0.2], [0.5, 0.2, 0.2, 0.4], [0.5, 0.8, 0.2, 0.4]])
    away = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])

    def check_one(box):
        given = Annotations(boxes=RawBoxes(box[None].astype(np.float32), np.zeros(1, np.int64), np.zeros(1, np.int64)))
        check_annotations(given, {"box_label": ("a",)}, lambda index: "one.png", "here")

    for edge, direction in zip(edges, away, strict=True):
        check_one(edge)
        check_one(edge + np.append(0.9e-4 * direction, (0, 0)))  # rounding
        with pytest.raises(ValueError, match=r"here: one\.png: .* is not inside the picture"):
            check_one(edge + np.append(2e-4 * direction, (0, 0)))


def test_the_digest_of_a_view_tells_of_its_boxes(annotated, make):
    def moved(values):
        values["boxes"][0] = (values["boxes"][0][0] * [1, 1, 0.5, 1], values["boxes"][0][1])

    first, second = (make(annotated(name, change), name, **BLOCK).facts.digest for name, change in (("a", None), ("b", moved)))
    assert first != second


def test_ragged_files_are_errors(annotated, make):
    dataset = annotated()
    labels = np.load(dataset / "all.box_label.npy")
    np.save(dataset / "all.box_label.npy", labels[:-1])
    with pytest.raises(ValueError, match=r"all\.box_label\.npy: shape \(\d+,\) for \d+ boxes"):
        make(dataset, **BLOCK)
    np.save(dataset / "all.box_label.npy", labels)
    image = np.load(dataset / "all.box_image.npy")
    for place, index in ((0, -1), (-1, 24), (1, 5)):
        np.save(dataset / "all.box_image.npy", np.where(np.arange(len(image)) == place % len(image), index, image))
        with pytest.raises(ValueError, match=r"all\.box_image\.npy: indices of 24 images are expected, in ascending order"):
            make(dataset, **BLOCK)
    np.save(dataset / "all.box_image.npy", image)
    np.save(dataset / "all.labels.npy", np.load(dataset / "all.labels.npy")[:-1])
    with pytest.raises(ValueError, match=r"all\.labels\.npy: shape \(23, 3\), expected \[24, classes\]"):
        make(dataset, **BLOCK)


def test_blocks_for_what_the_dataset_does_not_have_are_errors(noise_out, arrays_out, make):
    with pytest.raises(SettingsError, match=r"views\.small\.boxes: the dataset 'd' has no boxes"):
        make(noise_out(), boxes={"min_area": 4.0})
    image = np.random.default_rng(0).integers(0, 256, (6, 12, 12), dtype=np.uint8)
    dataset = arrays_out({"all": {"image": image, "label": np.arange(6) % 2}}, {"label": ["a", "b"]}, "plain")
    with pytest.raises(SettingsError, match=r"views\.small\.text: the dataset 'd' has no text"):
        make(dataset, text={"context_length": 8})


def test_no_group_is_in_two_splits(annotated, make):
    view = make(annotated(), **BLOCK)
    groups = {split: set(view.split(split).columns["group"].tolist()) for split in view.facts.counts}
    assert not groups["train"] & groups["test"]
    assert view.facts.counts == {"train": 18, "test": 6}
    with pytest.raises(ValueError, match=r"views\.small\.split: the group 'page \d' is in .*by: group, column: group"):
        make(annotated("again"), **BLOCK | {"split": {"test": 0.25}})
    with pytest.raises(SettingsError, match=r"views\.small\.split\.column: 'patient' is not a column"):
        make(annotated("more"), **BLOCK | {"split": {"by": "group", "column": "patient", "test": 0.25}})
