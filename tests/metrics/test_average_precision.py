"""COCO's figures by hand, and against pycocotools where it is installed; kinds of errors, confusion and F1 by hand."""

import contextlib
import io

import numpy as np
import pytest

from components.metrics.detections.average_precision import average_precision
from components.metrics.detections.box_errors import KINDS, confusion, judge
from components.metrics.detections.boxes import Detections, Truth, overlap

NAMES = (
    "ap",
    "ap50",
    "ap75",
    "ap_small",
    "ap_medium",
    "ap_large",
    "ar_1",
    "ar_10",
    "ar_100",
    "ar_small",
    "ar_medium",
    "ar_large",
)


def found(*rows):
    """Detections of (label, score, x_min, y_min, x_max, y_max)."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(table[:, 2:], table[:, 1], table[:, 0].astype(np.int64))


def true(*rows, crowd=()):
    """True boxes of (label, x_min, y_min, x_max, y_max)."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    return Truth(table[:, 1:], table[:, 0].astype(np.int64), np.isin(np.arange(len(table)), crowd))


def test_a_perfect_detector_has_one_and_a_box_of_half_its_overlap_counts_at_one_threshold():
    truth = [true((0, 0, 0, 50, 50)), true((0, 10, 10, 60, 60))]
    assert average_precision([found((0, 0.9, 0, 0, 50, 50)), found((0, 0.8, 10, 10, 60, 60))], truth, 1).figures[
        "ap"
    ] == pytest.approx(1)
    half = average_precision([found((0, 0.9, 0, 0, 50, 26)), found((0, 0.8, 10, 10, 60, 60))], truth, 1).figures
    assert half["ap50"] == 1, "an overlap of 0.52"
    exactly = average_precision([found((0, 0.9, 0, 0, 50, 25))], truth[:1], 1).figures
    assert (exactly["ap50"], exactly["ar_100"]) == (pytest.approx(1), pytest.approx(1 / 10))
    assert half["ar_100"] == pytest.approx((10 + 1) / 20)


def test_precision_is_interpolated_at_101_recalls():
    truth = [true((0, 0, 0, 40, 40), (0, 100, 0, 140, 40))]
    right, wrong, late = (0, 0.9, 0, 0, 40, 40), (0, 0.8, 300, 0, 340, 40), (0, 0.7, 100, 0, 140, 40)
    figures = average_precision([found(right, wrong, late)], truth, 1).figures
    assert figures["ap"] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    assert figures["ar_1"] == 0.5


def test_a_class_without_true_boxes_is_left_out_and_one_without_detections_is_zero():
    result = average_precision([found((2, 0.9, 0, 0, 40, 40))], [true((0, 0, 0, 40, 40))], 3)
    assert result.figures["ap"] == 0
    assert np.isnan(result.per_class["ap"][1:]).all()
    nothing = average_precision([found()], [true()], 1).figures
    assert all(np.isnan(value) for value in nothing.values())


def test_what_lies_on_a_crowd_is_neither_right_nor_wrong():
    truth = [true((0, 0, 0, 200, 200), (0, 300, 0, 340, 40), crowd=[0])]
    in_crowd = [(0, 0.9, 0, 0, 50, 50), (0, 0.8, 60, 60, 100, 100)]
    assert average_precision([found(*in_crowd, (0, 0.7, 300, 0, 340, 40))], truth, 1).figures["ap"] == pytest.approx(1)
    assert average_precision([found(*in_crowd, (0, 0.95, 500, 0, 540, 40), (0, 0.7, 300, 0, 340, 40))], truth, 1).figures[
        "ap"
    ] == pytest.approx(0.5)


def test_the_figures_of_each_class_have_the_reported_ones_as_their_mean():
    detections, truth = random_case(0, pictures=3)
    found = average_precision(detections, truth, 4)  # of the last class there is nothing
    for name, values in found.per_class.items():
        assert np.isnan(values).tolist() == [False, False, False, True]
        assert np.nanmean(values) == pytest.approx(found.figures[name])


def test_a_detection_takes_the_box_that_it_overlaps_most():
    """Overlaps 0.71 and 0.78; the second detection is the first box, and overlaps the other by 0.56."""
    truth = [true((0, 0, 0, 10, 10), (0, 0, 0, 10, 18))]
    figures = average_precision([found((0, 0.9, 0, 0, 10, 14), (0, 0.8, 0, 0, 10, 10))], truth, 1).figures
    assert figures["ar_100"] == pytest.approx((6 * 2 + 4 * 1) / 20)


def test_a_hundred_detections_of_a_picture_count_and_the_limits_of_size_belong_to_both_sides():
    """COCO's areas are 32^2 and 96^2, both included; pycocotools does the same."""
    boxes = [(0, 600 * i, 0, 600 * i + side, side) for i, side in enumerate((32, 31, 33, 96, 95, 500, *[20] * 6))]
    figures = average_precision([found(*((0, 0.9, *box) for _, *box in boxes))], [true(*boxes)], 1).figures
    assert figures["ar_10"] == pytest.approx(10 / 12)
    assert [figures[name] for name in NAMES if name not in ("ar_1", "ar_10")] == pytest.approx([1] * 10)
    for side, ranges in ((31, ["small"]), (32, ["small", "medium"]), (96, ["medium", "large"]), (500, ["large"])):
        one = average_precision([found((0, 0.9, 0, 0, side, side))], [true((0, 0, 0, side, side))], 1).figures
        assert [name for name in ("small", "medium", "large") if not np.isnan(one[f"ap_{name}"])] == ranges


def test_pictures_without_a_partner_are_refused():
    for figure in (average_precision, lambda *lists: confusion(*lists, 0.5)):
        with pytest.raises(ValueError, match=r"zip\(\) argument"):
            figure([found()], [true(), true()], 1)


def random_case(seed, *, pictures=10, classes=3, ties=False):
    """Pictures with jittered, doubled, mislabelled and invented detections, and some crowds."""
    source = np.random.default_rng(seed)
    detections, truth = [], []
    for _ in range(pictures):
        number = int(source.integers(0, 8))
        low = source.uniform(0, 200, (number, 2))
        boxes = np.concatenate([low, low + np.exp(source.uniform(2, 6, (number, 2)))], 1)
        labels, crowd = source.integers(0, classes, number), source.random(number) < 0.15
        copied = np.repeat(np.arange(number), source.integers(0, 4, number))
        moved = boxes[copied] + source.normal(0, 1, (len(copied), 4)) * source.choice([0.5, 3, 12], (len(copied), 1))
        low = source.uniform(0, 200, (int(source.integers(0, 5)), 2))
        moved = np.concatenate([moved, np.concatenate([low, low + np.exp(source.uniform(1, 5, low.shape))], 1)])
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        guessed = np.concatenate([labels[copied], source.integers(0, classes, len(low))])
        scores = source.random(len(moved)).round(1 if ties else 9)
        detections.append(Detections(moved, scores, guessed.astype(np.int64)))
        truth.append(Truth(boxes, labels, crowd))
    return detections, truth


def pycocotools_figures(detections, truth, classes):
    """The twelve numbers of ``COCOeval.summarize``."""
    coco, evaluation = (pytest.importorskip(f"pycocotools.{name}") for name in ("coco", "cocoeval"))
    annotations, results = [], []
    for image, (one, boxes) in enumerate(zip(detections, truth, strict=True), start=1):
        for box, label, crowd in zip(boxes.boxes, boxes.labels, boxes.ignored, strict=True):
            sides = (box[2:] - box[:2]).tolist()
            entry = {"id": len(annotations) + 1, "image_id": image, "category_id": int(label) + 1, "iscrowd": int(crowd)}
            annotations.append(entry | {"bbox": [*box[:2].tolist(), *sides], "area": sides[0] * sides[1]})
        for box, score, label in zip(one.boxes, one.scores, one.labels, strict=True):
            sides = [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]
            results.append({"image_id": image, "category_id": int(label) + 1, "bbox": sides, "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        given = coco.COCO()
        given.dataset = {"images": [{"id": image + 1} for image in range(len(truth))], "annotations": annotations}
        given.dataset["categories"] = [{"id": label + 1} for label in range(classes)]
        given.createIndex()
        run = evaluation.COCOeval(given, given.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats


@pytest.mark.parametrize("seed", range(6))
def test_all_twelve_figures_are_those_of_pycocotools(seed):
    detections, truth = random_case(seed, ties=seed % 2 == 0)
    expected = pycocotools_figures(detections, truth, 3)  # -1 where there is nothing
    figures = average_precision(detections, truth, 3).figures
    assert [figures[name] if np.isfinite(figures[name]) else -1 for name in NAMES] == pytest.approx(expected, abs=1e-9)


# What pycocotools 2.0.11 finds for the first two random cases, for where it is not installed.
KNOWN = {
    0: (
        0.234794782,
        0.302968758,
        0.237215755,
        0.023290901,
        0.26329491,
        0.696754675,
        0.197979798,
        0.455808081,
        0.455808081,
        0.158333333,
        0.519047619,
        0.766666667,
    ),
    1: (
        0.206834957,
        0.308219393,
        0.184350935,
        0.033663366,
        0.334984808,
        0.438778878,
        0.293650794,
        0.365608466,
        0.365608466,
        0.1,
        0.422222222,
        0.444444444,
    ),
}


@pytest.mark.parametrize("seed", KNOWN)
def test_the_figures_of_two_random_cases_are_as_pycocotools_found_them(seed):
    figures = average_precision(*random_case(seed, ties=seed % 2 == 0), 3).figures
    assert [figures[name] if np.isfinite(figures[name]) else -1 for name in NAMES] == pytest.approx(KNOWN[seed], abs=1e-8)


def test_the_overlap_with_a_crowd_is_over_the_detection_s_own_area():
    assert overlap(np.array([[0.0, 0, 10, 10]]), np.array([[0.0, 0, 100, 100]])).item() == pytest.approx(0.01)
    assert overlap(np.array([[0.0, 0, 10, 10]]), np.array([[0.0, 0, 100, 100]]), np.array([True])).item() == pytest.approx(1)
    assert overlap(np.zeros((1, 4)), np.zeros((1, 4))).item() == 0
    assert overlap(np.array([[0.0, 0, 10, 10]]), np.array([[20.0, 0, 30, 10]])).item() == 0


def test_each_kind_of_error_is_told_from_the_others():
    truth = true((0, 0, 0, 40, 40), (1, 100, 0, 140, 40), (0, 200, 0, 240, 40), (1, 300, 0, 340, 40), crowd=[3])
    rows = {
        "right": (0, 0.99, 0, 0, 40, 40),
        "duplicate": (0, 0.9, 2, 0, 40, 40),
        "class": (0, 0.8, 100, 0, 140, 40),
        "localisation": (0, 0.7, 220, 0, 260, 40),
        "class_and_localisation": (1, 0.6, 225, 0, 265, 40),
        "background": (1, 0.55, 400, 300, 420, 320),
    }
    on_crowd, below = (1, 0.95, 300, 0, 340, 40), (0, 0.4, 200, 0, 240, 40)
    verdicts = judge(found(*rows.values(), on_crowd, below), truth, 0.5)
    assert [KINDS[kind] for kind in verdicts.kind] == list(rows)
    assert verdicts.missed.tolist() == [False, True, True, False]
    assert verdicts.f1 == pytest.approx(2 * 1 / (6 + 3))
    assert judge(found(), true(), 0.5).f1 == pytest.approx(1)


def test_an_overlap_of_a_bound_reaches_it():
    """Exactly 0.5 and 0.1, as TIDE's t_f and t_b: of the own class and of another."""
    truth = true((0, 0, 0, 10, 20), (0, 100, 0, 200, 10), (1, 300, 0, 310, 20), (1, 400, 0, 500, 10))
    rows = [(0, 0.9 - x / 1000, x, 0, x + 10, 10) for x in (0, 100, 300, 400)]
    kinds, last = ["right", "localisation", "class", "class_and_localisation"], rows[-1][1]
    assert [KINDS[kind] for kind in judge(found(*rows), truth, last).kind] == kinds, "a score of the threshold counts too"
    assert confusion([found(*rows)], [truth], 2, last).tolist() == [[1, 0, 1], [1, 0, 1], [2, 0, 0]]


def test_the_confusion_prefers_the_own_class_to_a_larger_overlap():
    truth = [true((0, 0, 0, 40, 40), (1, 0, 0, 40, 60))]
    assert confusion([found((1, 0.9, 0, 0, 40, 40))], truth, 2, 0.5).tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_the_confusion_has_what_was_missed_and_what_was_not_there():
    truth = [true((0, 0, 0, 40, 40), (1, 100, 0, 140, 40), (1, 200, 0, 240, 40))]
    detections = [found((0, 0.9, 0, 0, 40, 40), (0, 0.8, 100, 0, 140, 40), (1, 0.7, 300, 0, 340, 40))]
    assert confusion(detections, truth, 2, 0.5).tolist() == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]


def test_the_confusion_leaves_out_what_lies_on_a_crowd():
    truth = [true((0, 0, 0, 200, 200), (1, 300, 0, 340, 40), crowd=[0])]
    detections = [found((0, 0.9, 10, 10, 60, 60), (1, 0.8, 20, 20, 70, 70), (1, 0.7, 500, 0, 540, 40))]
    assert confusion(detections, truth, 2, 0.5).tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0]]
