"""What weights.pt records of a view: facts added later stay out until a view has them, so that older runs keep their bytes."""

from dataclasses import replace

from components.core.batch import ViewFacts
from components.stages.train.stage import recorded

PLAIN = ViewFacts("v", 8, 1, {"label": ("a", "b")}, (0.0,), (1.0,), {"train": 2}, "d")
KEYS = {"name", "image_size", "channels", "classes", "mean", "std", "counts", "digest", "max_boxes", "context_length", "masked"}


def test_a_plain_view_is_recorded_as_ever():
    assert set(recorded(PLAIN)) == KEYS


def test_a_learnt_vocabulary_is_recorded():
    view = replace(PLAIN, context_length=4, vocabulary_size=300, start_id=1, end_id=2)
    assert {name: recorded(view)[name] for name in ("vocabulary_size", "start_id", "end_id")} == {
        "vocabulary_size": 300,
        "start_id": 1,
        "end_id": 2,
    }
    assert "pad_id" not in recorded(view)
