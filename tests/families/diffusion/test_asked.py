"""Diffusion by a view's own captions: what reaches the network, and what judges say of samples and of real images."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from families.diffusion.test_recipe import FACTS, SIZE, UNET, build, export, settings

from components.core.batch import ViewFacts, to_unit_range
from components.core.view_split import ViewSplit
from components.diffusion.conditions import texts_of, tokens_of
from components.families.diffusion import asked
from components.families.diffusion.asked import check_judges, read, searched, stands_as
from components.families.diffusion.evaluation import evaluate
from components.families.diffusion.recipe import Diffusion
from components.families.diffusion.samples import Objects

CONTEXT = 12
TEXT = {"context": CONTEXT, "width": 8, "depth": 1, "heads": 1}
ASKED = {"text": TEXT, "label_dropout": 0.1}
CAPTIONS = ["dark A", "light B", "dark B, A", "Äpfel"]
PLAIN = ViewFacts(
    "v", SIZE, 1, {"box_label": ("A", "B")}, (0.0,), (1.0,), {"train": 4}, "", max_boxes=2, context_length=CONTEXT
)


def batch():
    """Four images, each as bright as its row says; boxes of A at the left and B at the right."""
    pixels = torch.arange(4).mul(60).view(4, 1, 1, 1).expand(4, SIZE, SIZE, 1).to(torch.uint8)
    boxes = torch.tensor([[0.25, 0.5, 0.2, 0.2], [0.75, 0.5, 0.2, 0.2]]).expand(4, 2, 4)
    mask = torch.tensor([[True, False], [False, True], [True, True], [True, True]])
    labels = torch.tensor([0, 1]).expand(4, 2)
    tokens = tokens_of(CAPTIONS, CONTEXT)
    return {"image": to_unit_range(pixels), "boxes": boxes, "box_label": labels, "box_mask": mask, "tokens": tokens}


def test_the_view_s_captions_are_the_condition(tmp_path):
    recipe = build(ASKED, facts=PLAIN, spread=0.2)
    assert recipe.captions is None
    assert torch.equal(recipe.condition(batch())["tokens"], batch()["tokens"])
    served = export(recipe, tmp_path, images=batch())
    found = served.predict({"text": np.array(CAPTIONS)}, {"steps": 3})["image"]
    other = served.predict({"text": np.array(CAPTIONS[::-1])}, {"steps": 3})["image"]
    assert not np.array_equal(found[0], other[0]), "the same noise, another caption"
    with np.load(tmp_path / "example.npz", allow_pickle=False) as example:
        assert example["text"].tolist() == CAPTIONS[: len(example["text"])]


def test_texts_of_bytes_that_were_cut_lose_half_a_character():
    assert texts_of(tokens_of(["Äpfel", ""], 8)) == ["Äpfel", ""]
    assert texts_of(tokens_of(["aÄ"], 3)[:, :2]) == ["a"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, r"train\.conditions\.text: without a template the view needs .*; it has no captions"),
        (SimpleNamespace(tokeniser="bpe", context_length=CONTEXT), "it has its captions as bpe"),
        (SimpleNamespace(tokeniser="bytes", context_length=20), "context: 12 is not allowed: the view's context_length is 20"),
    ],
)
def test_a_view_without_such_captions_is_refused(text, told):
    with pytest.raises(ValueError, match=told):
        Diffusion.check(settings(ASKED, model=UNET), SimpleNamespace(image_size=SIZE, text=text), {})
    Diffusion.check(settings({"label": True}, model=UNET), SimpleNamespace(image_size=SIZE, text=text), {})


@pytest.mark.parametrize(
    ("conditions", "role", "recipe", "told"),
    [
        (ASKED, "clip", "detr", "the link clip leads to 'j', a detr run; clip or limoe is expected"),
        (ASKED, "detector", "clip", "the link detector leads to 'j', a clip run; detr is expected"),
        ({"label": True}, "clip", "limoe", "which judges captions; this run has none"),
    ],
)
def test_a_link_to_no_judge_of_captions_is_refused(conditions, role, recipe, told):
    with pytest.raises(ValueError, match=told):
        check_judges(settings(conditions).train.conditions, {role: SimpleNamespace(name="j", recipe=recipe)})


class Clip:
    """Embeds an image by its brightness and a text by its place in ``CAPTIONS``, as corners of a cube."""

    facts = {"image_size": SIZE, "channels": 1}  # noqa: RUF012

    def embed_image(self, images):
        return np.eye(4, dtype=np.float32)[(images.reshape(len(images), -1)[:, 0] // 60).clip(max=3)]

    def embed_text(self, texts):
        return np.eye(4, dtype=np.float32)[[CAPTIONS.index(text) for text in texts]]


class Detector:
    """Finds A at the left with 0.9 in every picture, and B at the right with as many hundredths as the picture is bright."""

    facts = {"image_size": SIZE, "channels": 1}  # noqa: RUF012

    def predict(self, inputs):
        images = inputs["image"]
        bright = images.reshape(len(images), -1)[:, 0] / 100
        boxes = np.array([[0, 2, 4, 6], [4, 2, 8, 6]], np.float32)
        scores = np.stack([np.full(len(images), 0.9), bright], axis=1)
        names = np.tile(np.array(["A", "B"]), (len(images), 1))
        return {"boxes": np.tile(boxes, (len(images), 1, 1)), "scores": scores, "class_names": names}


def grey(*levels):
    return np.array(levels, np.uint8)[:, None, None, None] * np.ones((1, SIZE, SIZE, 1), np.uint8)


def test_a_clip_reads_its_own_caption_among_all():
    figures = read(Clip(), grey(0, 60, 60, 0), [CAPTIONS[0], CAPTIONS[1], CAPTIONS[2], CAPTIONS[0]])
    assert figures["caption_read"] == figures["caption_cosine"] == 0.75
    assert figures["chance"] == pytest.approx(1 / 3), "three different captions"


def pair(*names, turned=False):
    places = np.array([[0.25, 0.5], [0.75, 0.5]])[: len(names)]
    return Objects(names, places[::-1] if turned else places)


def test_a_detector_counts_what_was_asked_for_and_where_it_stands():
    wanted = [pair("A"), pair("A", "B"), pair("B"), pair("A", "B", turned=True)]
    figures = searched(Detector(), grey(0, 200, 200, 200), wanted, 0.5)
    assert figures == {"objects_found": 1.0, "objects_asked_for": 6 / 7, "all_objects": 0.75, "places_right": 0.5}
    assert searched(Detector(), grey(40), [pair("A", "B")], 0.5)["objects_found"] == 0.5, "a score below the threshold"
    assert "places_right" not in searched(Detector(), grey(0), [pair("A")], 0.5)


@pytest.mark.parametrize(
    ("first", "second", "right"),
    [
        ((0.2, 0.5), (0.8, 0.6), True),
        ((0.8, 0.5), (0.2, 0.5), False),
        ((0.4, 0.1), (0.6, 0.9), False),
    ],
)
def test_places_are_compared_along_the_axis_that_was_asked_for(first, second, right):
    assert stands_as(pair("A", "B"), Objects(("A", "B"), np.array([first, second]))) == right
    assert stands_as(pair("A", "B"), Objects(("B", "A"), np.array([second, first]))) == right, "in any order"


def test_the_report_of_a_run_by_captions(tmp_path, monkeypatch):
    served = export(build(ASKED, facts=PLAIN, spread=0.2), tmp_path, images=batch())
    monkeypatch.setattr(asked, "load_served", lambda path: {"reader": Clip(), "finder": Detector()}[path.name])
    links = {
        role: SimpleNamespace(path=SimpleNamespace(name=name)) for role, name in (("clip", "reader"), ("detector", "finder"))
    }
    split = ViewSplit(PLAIN, [batch()], texts=[[text, "more"] for text in CAPTIONS])
    report = evaluate(served, {"main": split}, settings(ASKED, {"bound_draws": 0, "samples": 8}), links)
    assert [row["images"] for row in report.tables["asked_clip"]] == ["samples", "real"]
    real = searched(Detector(), grey(0, 60, 120, 180), [pair("A"), pair("B"), pair("A", "B"), pair("A", "B")], 0.5)
    assert report.metrics["all_objects_real_finder"].value == real["all_objects"] == 0.75
    assert {"caption_read_reader", "caption_read_real_reader", "objects_found_finder"} < set(report.metrics)
    assert report.pictures["captions"].shape[2] == 3
    alone = {name: tensor for name, tensor in batch().items() if not name.startswith("box")}
    with pytest.raises(ValueError, match="the link detector needs a view with boxes"):
        evaluate(served, {"main": ViewSplit(FACTS, [alone])}, settings(ASKED, {"bound_draws": 0}), links)
