"""Which detectors a block has, with which options; the splits that it reads."""

import pytest

from components.core.batch import ViewFacts
from components.core.config.strict import SettingsError, parse
from components.detectors import DETECTORS
from components.stages.detect.scoring import chosen_splits, require_split, validation_split
from components.stages.detect.settings import DetectSettings, make_detectors


def made(**block):
    settings = parse(DetectSettings, {"run": "r", "view": "v", **block}, "detect.block")
    return settings, make_detectors(settings, "detect.block")


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"detectors": ["vim", "energi"]}, r"detect\.block\.detectors: .*energi.*energy"),
        ({"options": {"knnn": {}}}, r"detect\.block\.options: .*knnn.*knn"),
        ({"options": {"knn": {"neighbors": 5}}}, r"detect\.block\.options\.knn\.neighbors: unknown key"),
        ({"options": {"knn": {"neighbours": "many"}}}, r"detect\.block\.options\.knn\.neighbours: 'many' is not allowed"),
        ({"options": {"knn": {"neighbours": 0}}}, r"detect\.block\.options\.knn\.neighbours: 0 is not allowed"),
        ({"tpr": 0.0}, r"detect\.block\.tpr: 0\.0"),
        ({"tpr": 1.01}, r"detect\.block\.tpr: 1\.01"),
    ],
)
def test_a_wrong_detector_option_or_share_is_named(block, message):
    with pytest.raises(SettingsError, match=message):
        made(**block)


def test_options_reach_their_detector_and_the_order_is_the_catalogue_s():
    settings, detectors = made(detectors=["vim", "knn", "msp"], options={"knn": {"neighbours": 3, "share": 0.5}}, tpr=1)
    assert list(detectors) == [name for name in DETECTORS if name in ("vim", "knn", "msp")]
    assert (detectors["knn"].neighbours, detectors["knn"].share) == (3, 0.5)
    assert (settings.tpr, made()[0].tpr) == (1, 0.95)
    assert "mcm" not in made()[1], "which is for models that know their classes by name"


def test_splits_that_a_view_has_not_are_not_read():
    def facts(**counts):
        return ViewFacts("v", 8, 1, {}, (0.0,), (1.0,), counts, "")

    assert [validation_split(facts(**counts)) for counts in ({"train": 1, "test": 1}, {"train": 1}, {"test": 1})] == [
        "test",
        "train",
        "test",
    ]
    assert validation_split(facts(train=2, validation=1, test=1)) == "validation"
    assert chosen_splits(facts(train=2, validation=0, test=1), "all", "ood.x.split") == ("train", "test")
    for counts, fault in (({"train": 1}, "does not exist"), ({"train": 1, "test": 0}, "is empty")):
        with pytest.raises(
            ValueError, match=rf"ood\.x\.split: the split 'test' of view 'v' {fault}; it has train \(1 images\)"
        ):
            require_split(facts(**counts), "test", "ood.x.split")
