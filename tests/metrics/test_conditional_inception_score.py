"""(Conditional) inception scores against what they must be in closed form."""

import numpy as np
import pytest

from components.metrics.translation import conditional_inception_score, inception_score

SURE = 1000.0  # a logit beside zeros: p = 1 to the last bit


def shown(*modes):
    """Logits of a classifier of 4 modes that is sure of these, [N][S]."""
    return SURE * np.eye(4)[np.array(modes)]


@pytest.mark.filterwarnings("error")
def test_every_mode_of_every_input_scores_log_of_their_number():
    logits = shown([0, 1, 2, 3], [3, 2, 1, 0])
    assert conditional_inception_score(logits) == pytest.approx(np.log(4))
    assert inception_score(logits) == pytest.approx(np.log(4))


def test_inputs_of_one_mode_each_differ_from_each_other_alone():
    logits = shown([0, 0, 0], [1, 1, 1])
    assert conditional_inception_score(logits) == 0
    assert inception_score(logits) == pytest.approx(np.log(2))


def test_one_mode_and_no_mode_score_nothing():
    for logits in (shown([2, 2], [2, 2]), np.zeros((3, 5, 4))):
        assert conditional_inception_score(logits) == inception_score(logits) == pytest.approx(0, abs=1e-12)


def test_doubt_is_counted_by_its_entropy():
    """KL to the mean of p and 1 - p, both 1/2 on average: log 2 - H(p)."""
    p = 0.9
    logits = np.log([[[p, 1 - p], [1 - p, p]]])
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    assert conditional_inception_score(logits) == pytest.approx(np.log(2) - entropy)


@pytest.mark.parametrize("logits", [np.zeros((3, 1, 4)), np.zeros((0, 2, 4)), np.zeros((2, 4)), np.full((1, 2, 4), np.nan)])
def test_what_is_no_set_of_translations_is_refused(logits):
    with pytest.raises(ValueError, match=r"logits: finite numbers \[N, 2 or more, K\] are expected"):
        conditional_inception_score(logits)
