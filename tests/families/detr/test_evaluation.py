"""The evaluation of a detector that knows its boxes, and what the report draws of it."""

import dataclasses

import numpy as np
import pytest
import torch
from families.tiny import Tiny, scattered

from components.core.batch import Split
from components.families.detr.evaluation import Settings, confidence, evaluate, nearest
from components.families.detr.exported import AttentionGraph, DetectionGraph, graph_inputs
from components.families.detr.pictures import map_shapes
from components.families.detr.windows import window_of
from components.serving.preparation import Preparation


class InTorch:
    """As the served code, by torch instead of ONNX Runtime. ``truth``: replace the detections by the true boxes."""

    def __init__(self, recipe, view, truth=None):
        self.recipe, self.view, self.truth = recipe, view, truth
        self.facts = recipe.exportable().facts

    @torch.no_grad()
    def detect(self, image, mask=None):
        batch = {"image": torch.from_numpy(image).permute(0, 3, 1, 2) / 127.5 - 1}
        outputs = DetectionGraph(self.recipe.detector, 100)(*graph_inputs(batch, self.view.facts).values())
        found = dict(zip(("logits", "boxes", "score", "label", "box"), (o.numpy() for o in outputs), strict=True))
        return found if self.truth is None else found | self.truth(found)

    @torch.no_grad()
    def attention(self, image, mask=None):
        weights = AttentionGraph(self.recipe.detector)(torch.from_numpy(image).permute(0, 3, 1, 2) / 127.5 - 1)
        return dict(zip(("encoder", "decoder"), (one.numpy() for one in weights), strict=True))


@pytest.fixture
def tiny(tmp_path):
    torch.set_num_threads(1)
    return Tiny("detr", tmp_path)


def split(tiny, **facts):
    view = tiny.views["main"]
    return Split(dataclasses.replace(view.facts, **facts), view.batches("test", 16, pixels=True))


def true_boxes(tiny):
    """Detections equal to the true boxes, batch by batch, one wrong one of score 0.1 for each empty place."""
    arrays, start = tiny.views["main"].split("test").moving, [0]

    def answer(found):
        rows = slice(start[0], start[0] + len(found["box"]))
        start[0] = rows.stop
        boxes, real = arrays["boxes"][rows] * 32, arrays["box_mask"][rows]
        corners = np.concatenate([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)
        return {"box": corners, "score": np.where(real, 0.9, 0.1), "label": arrays["box_label"][rows]}

    return answer


def test_a_detector_that_finds_all_has_the_best_figures(tiny):
    recipe, settings = scattered(tiny.build()).eval(), tiny.settings()
    report = evaluate(InTorch(recipe, tiny.views["main"], true_boxes(tiny)), {"main": split(tiny)}, settings, {})
    figures = {name: metric.value for name, metric in report.metrics.items()}
    assert (figures["ap"], figures["ap50"], figures["f1"]) == pytest.approx((1, 1, 1))
    assert "ap_large" not in figures, "the view has no such boxes"
    assert report.items["f1"].shape == (24,)
    kinds = {row["kind"]: row["detections"] for row in report.tables["errors"]}
    boxes = int(tiny.views["main"].split("test").moving["box_mask"].sum())
    assert (kinds["right"], sum(kinds.values())) == (boxes, boxes)
    assert [row["in_training"] for row in report.tables["per_class"]] == ["no", "no"], "it was not trained"
    matrix = report.pictures["confusion"].matrix
    assert matrix.sum() == np.trace(matrix) == boxes


def test_the_pictures_of_the_report_are_drawn_from_what_the_network_looks_at(tiny):
    recipe = scattered(tiny.build()).eval()
    served = InTorch(recipe, tiny.views["main"])
    report = evaluate(served, {"main": split(tiny)}, tiny.settings(), {})
    pictures = {name: picture for name, picture in report.pictures.items() if name != "confusion"}
    assert list(pictures) == ["detections", "queries", "encoder_attention", "decoder_attention"]
    assert all(picture.dtype == np.uint8 and picture.std() > 0 for picture in pictures.values())
    again = evaluate(served, {"main": split(tiny)}, tiny.settings(), {}).pictures
    assert all(np.array_equal(picture, again[name]) for name, picture in pictures.items())


def test_a_linked_view_has_its_own_figures_and_unknown_classes_are_refused(tiny):
    served = InTorch(scattered(tiny.build()).eval(), tiny.views["main"])
    other = split(tiny, classes={"box_label": ("square", "disc")})
    report = evaluate(served, {"main": split(tiny), "other": other}, tiny.settings(), {})
    swapped = [report.pictures[f"{role}confusion"].matrix.sum(1)[:2].tolist() for role in ("", "other.")]
    assert swapped[0] == swapped[1][::-1]
    with pytest.raises(ValueError, match="view 'plain' has classes that the detector was not trained on: star"):
        evaluate(served, {"main": split(tiny, classes={"box_label": ("disc", "star")})}, tiny.settings(), {})
    with pytest.raises(ValueError, match="view 'plain' has no boxes"):
        evaluate(served, {"main": split(tiny, classes={})}, tiny.settings(), {})


def test_pictures_without_any_object_have_no_average_precision_and_scores_of_nan_are_refused(tiny):
    served = InTorch(scattered(tiny.build()).eval(), tiny.views["main"])
    whole = split(tiny)
    empty = Split(whole.facts, [batch | {"box_mask": torch.zeros_like(batch["box_mask"])} for batch in whole])
    report = evaluate(served, {"main": empty}, tiny.settings(), {})
    assert list(report.metrics) == ["f1"]
    assert [(row["boxes"], row["ap"]) for row in report.tables["per_class"]] == [(0, None)] * 2
    served.truth = lambda found: {"score": np.full_like(found["score"], np.nan)}
    with pytest.raises(ValueError, match="view 'plain': the detector's scores are not finite"):
        evaluate(served, {"main": split(tiny)}, tiny.settings(), {})


def test_the_best_score_of_each_picture_is_written_and_tells_strange_views_without_boxes(tiny):
    def with_scores(level):
        """The best score of picture n of a batch is level + n / 100, its other detections are worse."""

        def answer(found):
            best = level() + np.arange(len(found["score"])) / 100
            return {"score": np.concatenate([best[:, None], np.full((len(best), 3), 0.01)], 1).repeat(1, 0)} | {
                name: found[name][:, :4] for name in ("box", "label")
            }

        return answer

    levels = iter((0.5, 0.3, 0.4, 0.1))  # two batches of 16 and 8 pictures a view
    served = InTorch(scattered(tiny.build()).eval(), tiny.views["main"], with_scores(lambda: next(levels)))
    strange = split(tiny, classes={}, name="noise")
    report = evaluate(served, {"main": split(tiny), "ood_noise": strange}, tiny.settings(), {})
    rows = report.tables["confidence"]
    assert [row["picture"] for row in rows[:2]] == [16, 17], "the least sure come first"
    assert [row["confidence"] for row in rows] == sorted(row["confidence"] for row in rows)
    assert (rows[0]["confidence"], rows[-1]["confidence"], len(rows)) == (0.3, 0.65, 24)
    main = np.concatenate([0.5 + np.arange(16) / 100, 0.3 + np.arange(8) / 100])
    other = np.concatenate([0.4 + np.arange(16) / 100, 0.1 + np.arange(8) / 100])
    pairs = (main[:, None] > other).mean() + (np.abs(main[:, None] - other) < 1e-9).mean() / 2
    assert report.metrics["ood_noise.auroc"].value == pytest.approx(pairs, abs=2e-3)
    assert 0 < report.metrics["ood_noise.fpr95"].value < 1
    assert [(row["view"], row["pictures"]) for row in report.tables["strange"]] == [("noise", 24)]
    assert not [name for name in report.metrics if name.startswith("ood_noise.ap")]


def test_no_object_is_no_class_that_a_query_may_be_sure_of():
    logits = np.array([[[0.0, 1.0, 5.0], [2.0, 0.0, 0.0]]])
    softmax = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert confidence(logits, 2) == pytest.approx(softmax[..., :2].max(-1))
    assert confidence(logits, 3) == pytest.approx(1 / (1 + np.exp(-np.array([[5.0, 2.0]]))))


def test_sizes_that_do_not_ascend_are_refused():
    with pytest.raises(ValueError, match=r"small: 40\.0 is not allowed: below large, 32\.0"):
        Settings(small=40.0, large=32.0)


@pytest.mark.parametrize(("size", "levels", "tokens", "expected"), [((96, 130), 1, 54, (6, 9)), ((96, 128), 2, 240, (6, 8))])
def test_tokens_are_mapped_back_to_the_picture(size, levels, tokens, expected):
    assert map_shapes(size, tokens, levels)[-1] == expected
    with pytest.raises(ValueError, match="7 tokens are not those of"):
        map_shapes(size, 7, levels)


def test_a_detection_is_traced_to_its_query():
    centres = np.array([[0.5, 0.5, 0.2, 0.2], [0.9, 0.9, 0.4, 0.4]])
    boxes = np.array([[70.0, 35, 100, 50], [40.0, 20, 60, 30]])  # the first is clipped to the picture
    assert nearest(boxes, centres, (50, 100)).tolist() == [1, 0]
    assert window_of(Preparation((50, 100), (50, 100), 3), (50, 100))[1] == (0, 0, 100, 50)
