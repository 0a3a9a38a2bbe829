"""The figures that a generative recipe reports: their names, and what they stand on."""

import re

import numpy as np
import pytest
from scipy.stats import ortho_group

from components.metrics.samples.distances import frechet_distance
from components.metrics.samples.generated import better, classes_of_judge, compare, conditional

RNG = np.random.default_rng(0)
REAL, MADE = RNG.normal(size=(60, 3)) + 2, RNG.normal(size=(50, 3)) * 1.5 + 2.5


def test_every_name_says_whose_features_and_every_value_is_a_float():
    found = compare(REAL.astype(np.float32), MADE.astype(np.float32), "glyphs_judge")
    assert list(found) == [
        "frechet_distance_glyphs_judge",
        "kernel_distance_glyphs_judge",
        "precision_glyphs_judge",
        "recall_glyphs_judge",
        "density_glyphs_judge",
        "coverage_glyphs_judge",
    ]
    assert all(type(value) is float for value in found.values())
    assert found["frechet_distance_glyphs_judge"] == pytest.approx(frechet_distance(REAL, MADE), rel=1e-5)


def test_reduction_finds_the_directions_of_the_real_and_changes_no_figure_within_them():
    axes = ortho_group.rvs(10, random_state=0)
    elsewhere = 9 * np.random.default_rng(1).normal(size=(50, 7)) @ axes[3:]  # where the real does not vary, the made does most
    real, made = REAL @ axes[:3], MADE @ axes[:3] + elsewhere
    found, expected = compare(real, made, "judge", dimensions=3), compare(REAL, MADE, "judge")
    assert list(found) == [f"{name}_pca3" for name in expected]
    assert list(found.values()) == pytest.approx(list(expected.values()))
    assert np.isfinite(list(compare(real, made, "judge", dimensions=1).values())).all()


def test_features_that_are_few_already_are_not_reduced_and_not_called_so():
    assert compare(REAL, MADE, "judge", dimensions=64) == compare(REAL, MADE, "judge")


def test_more_dimensions_than_real_images_span_are_refused():
    for dimensions in (0, 6, 8):
        with pytest.raises(ValueError, match=f"dimensions: {dimensions} is not allowed: 1 to 5, 6 real images"):
            compare(REAL.reshape(9, 20)[:6], REAL.reshape(9, 20), "judge", dimensions=dimensions)


def test_six_images_a_side_are_compared_and_five_are_not():
    assert np.isfinite(list(compare(REAL[:6], MADE[:6], "judge").values())).all()
    with pytest.raises(ValueError, match=r"made: 5 image\(s\) are too few: at least 6"):
        compare(REAL, MADE[:5], "judge")


def test_the_classes_of_a_judge_are_found_by_name():
    assert classes_of_judge(["b", "a"], ["a", "x", "b"], "judge").tolist() == [2, 0]
    with pytest.raises(ValueError, match=r"link classifier: judge does not know the classes c, d$"):
        classes_of_judge(["a", "c", "d"], ["a", "b"], "judge")


def test_conditional_figures_are_the_share_recognised_and_the_distance_within_a_label():
    label = np.array([0, 0, 1, 1])
    found = conditional(np.eye(3)[[0, 0, 1, 2]], np.array([[0.0], [1.0], [50.0], [53.0]]), label, "judge")
    assert found == {"conditional_accuracy_judge": 0.75, "diversity_judge": pytest.approx(2.0)}


@pytest.mark.parametrize("label", [np.array([0, 3]), np.array([0, -1]), np.array([0]), np.array([0.0, 1.0])])
def test_labels_that_the_classifier_does_not_know_are_refused(label):
    with pytest.raises(ValueError, match="label: 2 whole numbers from 0 to 2 are expected"):
        conditional(np.eye(3)[:2], np.zeros((2, 4)), label, "judge")


def test_a_name_that_no_metric_can_end_with_is_refused():
    with pytest.raises(ValueError, match=re.escape("extractor: 'my judge!' is not allowed")):
        compare(REAL, MADE, "my judge!")


def test_distances_are_better_small_whoever_measures():
    assert [better(f"{name}_x") for name in ("frechet_distance", "kernel_distance")] == ["min", "min"]
    assert better("precision_of_my_kernel_distance_x") == better("diversity_x") == better("conditional_accuracy_x") == "max"
