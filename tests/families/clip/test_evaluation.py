"""Figures of a CLIP evaluation by hand: a served model whose vectors are known."""

import numpy as np
import pytest

from components.contrastive.evaluation import Settings, evaluate
from components.contrastive.probe import Features, linear_probe
from components.contrastive.retrieval import distinct
from components.core.batch import ViewFacts
from components.core.config.strict import SettingsError, parse
from components.core.recipe import Report
from components.core.settings import ModelSettings, RunSettings
from components.core.view_split import ViewSplit
from components.metrics.caption_sheet import caption_sheet
from components.metrics.concept_matching import maximum_concept_matching
from components.metrics.retrieval import chance_of_recall, first_ranks, inverse

WORDS = ("red", "green", "blue")


class Served:
    """The grey level of an image, 0 to 2, is its direction; a text has the direction of the colour that it names."""

    classes, scale = np.array(WORDS), 10.0

    @property
    def facts(self):
        return {"classes": list(WORDS), "templates": ["{}"]}

    def embed_image(self, image):
        return np.eye(3, dtype=np.float32)[image[:, 0, 0, 0]] if image.max(initial=0) < 3 else self.unsure(len(image))

    image_features = embed_image

    def unsure(self, number):
        return np.full((number, 3), 3**-0.5, np.float32)

    def embed_text(self, texts):
        return np.eye(3, dtype=np.float32)[[next(i for i, word in enumerate(WORDS) if word in text) for text in texts]]

    def class_vectors(self, names, templates):
        return self.embed_text([template.replace("{}", name) for name in names for template in templates])

    def cut(self, texts):
        return np.array([len(text) > 8 for text in texts])


def split(levels, texts=(), colours=(0, 1, 2, 0, 0), sizes=(0, 1, 0, 1, 1)):
    """Images of one grey level each, with the columns ``colour`` and ``size``."""
    import torch

    number = len(levels)
    image = torch.tensor(levels, dtype=torch.uint8)[:, None, None, None].expand(-1, 4, 4, 1)
    classes = {"colour": ("r", "g", "b"), "size": ("small", "large")}
    facts = ViewFacts("v", 4, 1, classes, (0.0,), (1.0,), {"test": number}, "")
    columns = {"colour": np.array(colours[:number]), "size": np.array(sizes[:number])}
    other = lambda name: split(levels, texts, colours, sizes)  # noqa: E731
    return ViewSplit(facts, [{"image": image[:2]}, {"image": image[2:]}], columns, texts, other)


def report_of(splits, **settings) -> Report:
    block = parse(Settings, settings, "runs.r.evaluate")
    run = RunSettings("r", "clip", "v", ModelSettings("clip", {}), None, None, block)
    return evaluate(Served(), splits, run, {})


TEXTS = (["a red", "one red"], "a green", "a blue", ["a red"], "a blue thing")  # the last image is red: its caption is wrong
LEVELS = [0, 1, 2, 0, 0]


def test_retrieval_counts_every_caption_once_and_right_for_all_its_pictures():
    report = report_of({"main": split(LEVELS, TEXTS)}, recall_at=[1, 3], captions=2)
    # Image 0: "a red" and "one red" tie, both its own. Image 3: its "a red" ties with "one red", which is another's: second.
    assert report.items["image_to_text.recall_at_1"].tolist() == [1, 1, 0, 0, 0]  # image 2: "a blue thing" ties
    assert report.items["image_to_text.recall_at_3"].tolist() == [1, 1, 1, 1, 0]
    # Captions: "a red" has images 0 and 3, tied with image 4; "one red" 0; "a green" 1; "a blue" 2; "a blue thing" 4.
    assert report.metrics["text_to_image.recall_at_1"].value == pytest.approx(2 / 5)
    (counts,) = report.tables["captions"]
    assert counts == {"images": 5, "captions": 6, "distinct": 5, "duplicates": 1, "cut": 1}
    assert report.pictures["captions"].dtype == np.uint8


def test_ranks_ties_chance_and_the_other_direction():
    relevant = [np.array([0]), np.array([1, 2]), np.array([2])]
    items = np.array([[1.0, 0], [1, 0], [0, 1]])
    assert first_ranks(np.array([[1.0, 0], [0, 1], [1, 0]]), items, relevant).tolist() == [1, 0, 2]
    assert [own.tolist() for own in inverse(relevant, 3)] == [[0], [1], [1, 2]]
    assert chance_of_recall(relevant, 3, 1) == pytest.approx((1 / 3 + 2 / 3 + 1 / 3) / 3)
    assert chance_of_recall([np.array([0])], 10, 5) == pytest.approx(0.5)
    assert chance_of_recall([np.array([0, 1])], 4, 2) == pytest.approx(1 - (2 / 4) * (1 / 3))
    assert distinct([["b", "a"], ["b"]])[0] == ["b", "a"]


NAMES = {"r": "red", "g": "green", "b": "blue"}


def test_zero_shot_figures_are_those_of_the_words():
    entries = [{"column": "colour", "names": NAMES, "templates": ["a {}", "the {}"]}]
    entries += [{"column": "size", "names": {"small": "red", "large": "blue"}}]
    levels = [0, 1, 2, 1, 0]  # image 3 is red and looks green
    report = report_of({"main": split(levels, TEXTS)}, zero_shot=[entries[0] | {"templates": ["a {}"]}, entries[1]])
    assert report.items["zero_shot.colour.accuracy"].tolist() == [1, 1, 1, 0, 1]
    rows = {row["class"]: (row["words"], row["images"], row["right"]) for row in report.tables["zero_shot.colour.per_class"]}
    assert rows == {"r": ("red", 3, 2), "g": ("green", 1, 1), "b": ("blue", 1, 1)}
    assert report.pictures["zero_shot.colour.confusion"].matrix.tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 1]]
    # Small is "red" and large "blue": image 0 is right, 2 (small, blue) and 4 (large, red) are not.
    size = report.items["zero_shot.size.accuracy"]
    assert (size[0], size[2], size[4]) == (1, 0, 0)
    both = report.items["zero_shot.colour.accuracy"] * size
    assert report.metrics["zero_shot.all_columns.accuracy"].value == both.mean()
    assert report.group_names == ("r", "g", "b")


def test_excluded_classes_are_no_choice_and_their_images_are_not_scored():
    entry = {"column": "colour", "names": NAMES, "exclude": ["g"]}
    report = report_of({"main": split([0, 1, 0, 0, 0], TEXTS)}, zero_shot=[entry])
    assert report.metrics["zero_shot.colour.accuracy"].value == 3 / 4
    assert report.items["zero_shot.colour.accuracy"].tolist() == [1, 0, 1, 1]
    assert report.groups is None


def test_a_linked_view_is_classified_under_its_role():
    entry = {"view": "far", "column": "colour", "names": NAMES}
    report = report_of({"main": split(LEVELS, TEXTS), "far": split([0, 0, 0], colours=(0, 1, 2))}, zero_shot=[entry])
    assert report.metrics["zero_shot.far.colour.accuracy"].value == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"column": "shape"}, r"zero_shot\.0\.column: view 'v' has no column 'shape'; it has colour, size"),
        ({"column": "size", "names": {"tiny": "tiny"}}, r"zero_shot\.0\.names: 'tiny' is no class of the column 'size'"),
        ({"column": "size", "exclude": ["small"]}, r"zero_shot\.0\.column: 'size' has 1 class"),
        ({"column": "size", "view": "far"}, r"zero_shot\.0\.view: 'far' is not allowed: main"),
    ],
)
def test_columns_and_classes_that_are_not_there_are_refused_by_key(entry, words):
    with pytest.raises(ValueError, match=words):
        report_of({"main": split(LEVELS, TEXTS)}, zero_shot=[entry])


def test_a_column_that_stands_twice_is_refused():
    with pytest.raises(SettingsError, match=r"zero_shot: .*the column 'size' of view main stands twice"):
        report_of({}, zero_shot=[{"column": "size"}, {"column": "size", "templates": ["a {}"]}])


def test_a_class_without_words_is_refused():
    with pytest.raises(SettingsError, match=r"zero_shot\.0\.names: the class 'r' has no words"):
        report_of({}, zero_shot=[{"column": "colour", "names": {"r": " "}}])


def test_concept_matching_tells_other_views_by_the_class_names():
    """Ming et al. 2022, eq. 1 and 2: the maximum of a softmax over cosines at temperature 1."""
    np.testing.assert_allclose(maximum_concept_matching(np.array([[1.0, 0, 0]]), 1.0), [np.e / (np.e + 2)])
    report = report_of({"main": split(LEVELS, TEXTS), "ood_noise": split([9, 9, 9])})
    assert report.metrics["mcm.noise.auroc"].value == 1.0
    assert [row["detector"] for row in report.tables["concept_matching"]] == ["mcm", "max_cosine"]


def test_a_probe_s_strength_is_chosen_on_validation_images():
    draws = np.random.default_rng(0)
    labels = np.arange(60) % 3
    rows = np.eye(3)[labels] * 4 + draws.normal(size=(60, 3))
    train, rest = Features(rows[:40], labels[:40]), Features(rows[40:], labels[40:])
    probe = linear_probe(train, rest, rest)
    assert probe.right.mean() == probe.validation >= 0.9
    flipped = Features(rest.rows, 1 - np.minimum(rest.labels, 1))  # what the fit would have to get wrong
    assert linear_probe(train, flipped, rest).right.mean() < 0.9
    with pytest.raises(ValueError, match="one class"):
        linear_probe(Features(rows, 0 * labels), rest, rest)
    with pytest.raises(ValueError, match=r"evaluate\.linear_probe: view 'v' has no column 'shape'"):
        report_of({"main": split(LEVELS, TEXTS)}, linear_probe=["shape"])


def test_the_sheet_frames_what_is_right_in_green():
    pictures = np.zeros((1, 2, 8, 12, 1), np.uint8)
    page = caption_sheet(["a caption"], pictures, np.array([[True, False]]))
    green = (page == (40, 150, 60)).all(2)
    assert green[:, :110].any()
    assert not green[:, 112:].any()
