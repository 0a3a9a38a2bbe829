"""Candidate and champion with other class lists: shared classes are compared, new ones meet a floor; the verdict says so."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from components.core.config.strict import parse
from components.registry.promotion.classes import Widened, listed, widened
from components.registry.promotion.gates import Gates
from components.registry.promotion.verdict import judge
from components.serving.loading import load_served


def verdict(candidate, champion, **block):
    return judge(parse(Gates, {"metric": "accuracy", "floor": 0.9} | block, "promote"), "k", candidate, champion)


def lines(found) -> dict[str, tuple[bool, str]]:
    return {line.gate: (line.passed, line.words) for line in found.lines}


def three(scores, wrong_of_new: int = 0, **changes):
    """400 images: zero, one (100 each, all right) and two (200), which is new."""
    right = np.ones(400)
    right[200 : 200 + wrong_of_new] = 0
    names = ("zero", "one", "two")
    same = {"group_names": names, "classes": names, "groups": np.repeat([0, 1, 2, 2], 100), "items": {"accuracy": right}}
    return scores(metrics={"accuracy": float(right.mean())}, **same | changes)


def old(scores, wrong: int = 0, **changes):
    """The champion on the same images: it knows zero and one, so it is wrong on every image of two."""
    right = np.concatenate([np.ones(200), np.zeros(200)])
    right[:wrong] = 0
    champion = three(scores, items={"accuracy": right}, classes=("zero", "one"), **changes)
    return replace(champion, metrics={"accuracy": float(right.mean())})


def test_shared_classes_are_compared_and_a_new_one_meets_its_floor(scores):
    found = verdict(three(scores, 10), old(scores), margin=0.03, gain=0.0, max_class_fall=0.02)
    assert found.passed, found.reason
    said = lines(found)
    assert said["class_list"][1] == "1 added: two; compared on the images of the 2 classes that both know"
    assert said["new_classes"][1].startswith("accuracy 0.9500 on 200 images of 'two', the worst of 1 new ones")
    assert "against the champion on 200 images" in said["margin"][1]
    assert "accuracy 1.0000, champion 1.0000: better by +0.0000" in said["gain"][1]


def test_a_candidate_that_is_worse_on_the_shared_classes_is_refused_though_it_knows_more(scores):
    candidate = three(scores, items={"accuracy": np.concatenate([np.ones(180), np.zeros(20), np.ones(200)])})
    found = verdict(candidate, old(scores), margin=0.03, gain=0.0)
    assert [line.gate for line in found.lines if not line.passed] == ["gain", "margin"]


def test_a_new_class_below_its_floor_is_refused(scores):
    assert [line.gate for line in verdict(three(scores, 30), old(scores)).lines if not line.passed] == ["new_classes"]
    assert verdict(three(scores, 30), old(scores), new_class_floor=0.8).passed
    without = lines(judge(Gates(metric="accuracy", gain=-1.0), "k", three(scores), old(scores)))
    assert without["new_classes"] == (False, "two: add new_class_floor: what must they reach?")


def test_the_worst_new_class_counts_where_smaller_is_better_too(scores):
    """Two new classes; the losses 0.2 and 0.4: the second is held against the floor, and refused only above it."""
    losses = np.repeat([0.1, 0.1, 0.2, 0.4], 100)
    names = ("zero", "one", "two", "three")
    same = {"group_names": names, "groups": np.repeat([0, 1, 2, 3], 100), "better": {"loss": "min"}}
    candidate = scores(metrics={"loss": 0.2}, items={"loss": losses}, classes=names, **same)
    champion = scores(metrics={"loss": 0.9}, items={"loss": losses + 0.1}, classes=names[:2], **same)
    said = lines(verdict(candidate, champion, metric="loss", floor=0.4, gain=0.1))
    assert said["new_classes"] == (
        True,
        "loss 0.4000 on 100 images of 'three', the worst of 2 new ones, at most 0.4 is required",
    )
    assert said["gain"] == (True, "loss 0.1000, champion 0.2000: better by +0.1000, at least +0.1 is required")
    assert not lines(verdict(candidate, champion, metric="loss", floor=0.39))["new_classes"][0]
    upside_down = replace(candidate, better={"loss": "max"})
    assert (
        "'two', the worst of 2 new ones, at least 0.1"
        in lines(verdict(upside_down, champion, metric="loss", floor=0.1))["new_classes"][1]
    )


def test_new_classes_that_cannot_be_measured_are_refused(scores):
    nobody = three(scores, groups=np.repeat([0, 1], 200))
    assert lines(verdict(nobody, old(scores)))["new_classes"] == (False, "two: no images to measure them on")
    unmeasured = replace(three(scores), items={})
    assert lines(verdict(unmeasured, old(scores)))["new_classes"] == (False, "two: accuracy has no value an image")
    assert not lines(verdict(three(scores), old(scores), gain=0.0, new_class_floor=1.5))["new_classes"][0]


def test_seeds_whose_mean_is_of_other_classes_are_not_compared(scores):
    candidate = three(scores)
    candidate.metrics.update({"seeds.accuracy.mean": 1.0, "seeds.accuracy.std": 0.0})
    assert "cannot be compared" in lines(verdict(candidate, old(scores), seed_spread=0.0))["seed_spread"][1]


def test_many_classes_are_listed_in_part():
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c, d, e"
    assert listed(["a" * 50, *"bcdefg"]) == f"{'a' * 40}, b, c, d, e and 2 more"


def test_a_removed_class_is_named_and_the_images_of_today_are_compared(scores):
    names = ("zero", "one")
    candidate, champion = scores(1, classes=names), scores(2, classes=(*names, "gone"))
    said = lines(verdict(candidate, champion, margin=0.03))
    assert said["class_list"] == (True, "1 removed: gone; compared on the images of the 2 classes that both know")
    assert "on 200 images" in said["margin"][1]


def test_without_a_change_nothing_is_said_of_classes(scores):
    names = ("zero", "one")
    assert [line.gate for line in verdict(scores(1, classes=names), scores(2, classes=names)).lines] == ["floor"]


def test_no_class_in_common_is_refused(scores):
    found = verdict(three(scores), three(scores, classes=("other",)), margin=0.03, new_class_floor=0.0)
    assert "they have no class in common" in lines(found)["margin"][1]


class Fixed:
    facts: ClassVar = {"classes": ["zero", "one"]}

    def scores(self, image):
        return {"logits": np.array([[3.0, -7.0]], np.float32).repeat(len(image), 0)}


def test_a_widened_model_answers_as_before_and_never_a_class_that_it_does_not_know():
    model = Widened(Fixed(), ["two", "three"])
    logits = model.scores(np.zeros((5, 1)))["logits"]
    assert model.facts["classes"] == ["zero", "one", "two", "three"]
    assert logits.shape == (5, 4)
    np.testing.assert_array_equal(logits[:, :2], Fixed().scores(np.zeros((5, 1)))["logits"])
    assert np.exp(logits[:, 2:] - logits.max(1, keepdims=True)).max() < 1e-20


def test_an_export_is_widened_by_what_it_lacks(home):
    export = home.folder / "outputs" / "export" / "small"
    with widened(export, ("one", "nine", "zero", "two")) as folder:
        assert load_served(folder).facts["classes"] == ["zero", "one", "two", "nine"]
    with widened(export, ("one", "zero")) as folder:
        assert folder == export


@pytest.mark.parametrize(
    "block", [{"watch": "24"}, {"watch": "0h"}, {"watch": 24}, {"approval": {"by": "me"}}, {"watch": "1w"}]
)
def test_a_setting_of_the_watch_that_says_nothing_is_refused(block):
    with pytest.raises(ValueError, match=r"promote\.(watch|approval)"):
        parse(Gates, {"metric": "accuracy", "floor": 0.9} | block, "promote")
