"""What cannot be fitted or scored says why."""

import pytest
import torch
from detectors.known import BY_FEATURES, fitted, make_detector, make_known

from components.core.config.strict import resolve
from components.detectors import DETECTORS
from components.detectors.shared.protocol import Head

READERS = sorted(set(BY_FEATURES) - {"msp", "max_logit", "energy", "gradnorm", "nusa", "mcm"})
SECOND_MOMENTS = ["vim", "residual", "mahalanobis", "relative_mahalanobis"]


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_named(name, value, known):
    features = known.features.clone()
    features[130, 5] = value
    broken = make_known(features, known.labels, known.head, known.new)
    with pytest.raises(ValueError, match=rf"{name}: batch 2 \(from 0\): the features of row 2 are not finite"):
        fitted(name, broken, size=64)


@pytest.mark.parametrize("name", ["kl_matching", "vim"])
def test_logits_that_are_not_finite_are_named(name, known):
    logits = known.logits.clone()
    logits[[130, 200], 2] = float("nan")
    with pytest.raises(ValueError, match=rf"{name}: batch 0 \(from 0\): the logits of row 130 are not finite"):
        make_detector(name).fit([(known.features, logits, known.labels)], known.head)


@pytest.mark.parametrize("name", READERS)
def test_batches_without_an_image_are_an_error(name, known):
    for batches in ([], [(known.features[:0], known.logits[:0], known.labels[:0])]):
        with pytest.raises(ValueError, match=f"{name}: no image to fit on"):
            make_detector(name).fit(batches, known.head)


@pytest.mark.parametrize("name", READERS)
def test_an_empty_batch_among_others_changes_nothing(name, known):
    detector = make_detector(name)
    detector.fit([*known.batches(300), (known.features[:0], known.logits[:0], known.labels[:0])], known.head)
    expected = fitted(name, known, size=300).score(known.new, known.new_logits)
    torch.testing.assert_close(detector.score(known.new, known.new_logits), expected)


@pytest.mark.parametrize("name", ["vim", "react"])
def test_a_generator_is_refused_where_the_batches_are_read_again(name, known):
    with pytest.raises(ValueError, match=f"{name} reads the batches more than once: pass a list"):
        make_detector(name).fit(iter(known.batches(64)), known.head)


@pytest.mark.parametrize("name", SECOND_MOMENTS)
def test_fewer_images_than_dimensions_are_an_error(name, known):
    few = make_known(known.features[:23], known.labels[:23], known.head, known.new)
    with pytest.raises(ValueError, match=f"{name}: 23 images are fewer than the 24 dimensions"):
        fitted(name, few)


@pytest.mark.parametrize("name", SECOND_MOMENTS)
def test_as_many_images_as_dimensions_are_enough(name, known):
    few = make_known(known.features[:24], known.labels[:24], known.head, known.new)
    assert fitted(name, few).score(few.new, few.new_logits).isfinite().all()


def test_fewer_images_than_neighbours_are_an_error(known):
    few = make_known(known.features[:6], known.labels[:6], known.head, known.new)
    with pytest.raises(ValueError, match="knn: 6 images stay"):
        fitted("knn", few)


def test_as_many_images_as_neighbours_are_enough(known):
    """The last neighbour is then the farthest of all images."""
    few = make_known(known.features[:7], known.labels[:7], known.head, known.new)
    unit, z = (torch.nn.functional.normalize(part) for part in (few.features, few.new))
    torch.testing.assert_close(fitted("knn", few).score(few.new, few.new_logits), -torch.cdist(z, unit).amax(1))


@pytest.mark.parametrize("name", ["mahalanobis", "react"])
def test_features_whose_sum_is_too_large_for_their_dtype_are_taken(name, known):
    half = (100 * known.features.abs()).half()
    assert half.isfinite().all()
    assert not half.sum().isfinite()
    rough = make_known(half.double(), known.labels, known.head, known.new)
    detector = make_detector(name)
    detector.fit([(half, known.logits, known.labels)], known.head)
    expected = fitted(name, rough).score(known.new, known.new_logits)
    torch.testing.assert_close(detector.score(known.new, known.new_logits), expected)


def test_a_share_of_the_images_is_spread_evenly(known):
    detector = resolve(DETECTORS, "knn", "")(neighbours=1, share=0.1)
    detector.fit(known.batches(7), known.head)
    expected = torch.nn.functional.normalize(known.features[9::10])
    torch.testing.assert_close(detector.bank, expected)


@pytest.mark.parametrize("name", ["vim", "residual"])
@pytest.mark.parametrize("dimension", [24, 1000])
def test_a_dimension_that_leaves_no_null_space_is_an_error(name, dimension, known):
    detector = resolve(DETECTORS, name, "")(dimension=dimension)
    with pytest.raises(ValueError, match=rf"{dimension} leaves no null space: the features have 24 .* 1 to 23 .* gives 12"):
        detector.fit(known.batches(64), known.head)


@pytest.mark.parametrize("name", ["vim", "residual"])
def test_a_dimension_that_leaves_only_unused_directions_is_an_error(name, known):
    """A bias of zero, and half of the units never fire."""
    features = known.features * (torch.arange(24) < 12)
    dead = make_known(features, known.labels, Head(known.head.weight), known.new)
    with pytest.raises(ValueError, match=r"span 12 dimensions only.* below 12"):
        fitted(name, dead)


@pytest.mark.parametrize("name", ["vim", "residual"])
def test_unused_directions_are_told_from_rounding_however_long_one_of_the_others_is(name, known):
    torch.manual_seed(1)
    turn, _ = torch.linalg.qr(torch.randn(24, 24, dtype=torch.float64))
    features = (known.features * (torch.arange(24) < 12) * torch.tensor([1e6] + 23 * [1.0]).double()) @ turn
    with pytest.raises(ValueError, match=r"span 12 dimensions only.* below 12"):
        fitted(name, make_known(features, known.labels, Head(known.head.weight), known.new))


@pytest.mark.parametrize("name", ["vim", "residual"])
def test_features_of_which_nothing_fires_have_no_residual(name, known):
    with pytest.raises(ValueError, match="span 0 dimensions only"):
        fitted(name, make_known(0 * known.features, known.labels, Head(known.head.weight), known.new))


@pytest.mark.parametrize("name", ["mahalanobis"])
def test_features_of_which_nothing_fires_have_no_distance(name, known):
    dead = make_known(0 * known.features, known.labels, known.head, known.new)
    assert fitted(name, dead).score(known.new, known.new_logits).tolist() == [0.0] * 40


@pytest.mark.parametrize("name", ["mahalanobis", "relative_mahalanobis"])
def test_units_that_never_fire_are_left_out_of_the_distance(name, known):
    dead = make_known(known.features * (torch.arange(24) < 20), known.labels, known.head, known.new)
    narrow = make_known(known.features[:, :20], known.labels, Head(known.head.weight[:, :20]), known.new[:, :20])
    found = fitted(name, dead).score(dead.new, dead.new_logits)
    torch.testing.assert_close(found, fitted(name, narrow).score(narrow.new, narrow.new_logits))


@pytest.mark.parametrize("name", ["msp", "kl_matching", "gradnorm", "odin", "mcm"])
def test_a_classifier_of_one_class_is_refused_where_the_score_would_be_constant(name, known):
    head = Head(known.head.weight[:1], known.head.bias[:1])
    one = make_known(known.features, known.labels * 0, head, known.new)
    with pytest.raises(ValueError, match=f"{name}: the classifier has one class"):
        fitted(name, one)


@pytest.mark.parametrize("name", ["msp", "kl_matching", "gradnorm", "odin", "mcm"])
def test_a_classifier_of_two_classes_is_not_refused(name, known):
    two = make_known(known.features, known.labels % 2, Head(known.head.weight[:2], known.head.bias[:2]), known.new)
    detector = fitted(name, two)
    assert detector.needs_gradient or detector.score(two.new, two.new_logits).std() > 0


@pytest.mark.parametrize("name", ["max_logit", "energy", "react", "residual", "vim", "nusa", "mahalanobis", "knn"])
def test_a_classifier_of_one_class_works_where_the_score_has_a_meaning(name, known):
    one = make_known(known.features, known.labels * 0, Head(known.head.weight[:1], torch.tensor([9.0]).double()), known.new)
    assert fitted(name, one).score(one.new, one.new_logits).std() > 0


def test_labels_of_one_class_have_no_relative_distance(known):
    one = make_known(known.features, known.labels * 0, known.head, known.new)
    with pytest.raises(ValueError, match="relative_mahalanobis: the images are all of one class"):
        fitted("relative_mahalanobis", one)


def test_a_class_without_images_is_passed_over(known):
    kept = known.labels != 2
    without = make_known(known.features[kept], known.labels[kept], known.head, known.new)
    detector = fitted("mahalanobis", without)
    assert detector.means.shape[0] == 4
    assert detector.score(known.new, known.new_logits).isfinite().all()


def test_logits_below_zero_are_refused_by_vim(known):
    head = Head(known.head.weight, known.head.bias - 100)
    with pytest.raises(ValueError, match="alpha would reward a residual"):
        fitted("vim", make_known(known.features, known.labels, head, known.new))


def test_a_weight_that_sees_all_of_a_feature_is_refused_by_nusa(known):
    square = Head(torch.eye(24).double())
    with pytest.raises(ValueError, match="has rank 24, so that all"):
        fitted("nusa", make_known(known.features, known.labels, square, known.new))
    with pytest.raises(ValueError, match="has rank 0, so that nothing"):
        fitted("nusa", make_known(known.features, known.labels, Head(0 * known.head.weight), known.new))


def test_odin_says_why_it_scores_no_features(known):
    detector = fitted("odin", known)
    assert detector.needs_gradient
    with pytest.raises(ValueError, match=r"needs a gradient by the input image.*score_images"):
        detector.score(known.new, known.new_logits)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("energy", {"temperature": 0.0}, "temperature: 0.0"),
        ("gradnorm", {"temperature": -1.0}, "temperature: -1.0"),
        ("gradnorm", {"temperature": 0.0}, "temperature: 0.0"),
        ("mcm", {"temperature": 0.0}, "temperature: 0.0"),
        ("odin", {"temperature": 0.0}, "temperature: 0.0"),
        ("odin", {"temperature": float("nan")}, "temperature: nan"),
        ("odin", {"epsilon": -0.1}, "epsilon: -0.1"),
        ("react", {"quantile": 90.0}, "quantile: 90.0 is not allowed: 0 to 1"),
        ("react", {"quantile": 1.01}, "quantile: 1.01"),
        ("react", {"quantile": -0.01}, "quantile: -0.01"),
        ("vim", {"dimension": 0}, "dimension: 0"),
        ("residual", {"dimension": -1}, "dimension: -1"),
        ("knn", {"neighbours": 0}, "neighbours: 0"),
        ("knn", {"share": 0.0}, "share: 0.0"),
        ("knn", {"share": 1.01}, "share: 1.01"),
    ],
)
def test_impossible_settings_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        resolve(DETECTORS, name, "")(**options)


@pytest.mark.parametrize("name", READERS)
def test_a_detector_that_is_not_fitted_says_so(name, known):
    with pytest.raises(ValueError, match=f"{name}: .* not fitted yet; call fit or load first"):
        make_detector(name).score(known.new, known.new_logits)
    with pytest.raises(ValueError, match=f"{name}: .* not fitted yet; call fit or load first"):
        make_detector(name).state()
    with pytest.raises(ValueError, match=f"{name}: the stored state has"):
        make_detector(name).load({"threshold": torch.zeros(1)})


def test_shapes_that_do_not_fit_are_named(known):
    detector = fitted("vim", known)
    with pytest.raises(ValueError, match=r"vim: features \[40, 24\] and logits \[39, 5\]"):
        detector.score(known.new, known.new_logits[:39])
    with pytest.raises(ValueError, match=r"vim: features \[40\] and logits \[40, 5\]"):
        detector.score(known.new[:, 0], known.new_logits)
    for moved, found in ((1, "1 to 5"), (-1, "-1 to 3")):
        with pytest.raises(ValueError, match=f"labels from {found}; the head has classes 0 to 4"):
            make_detector("mahalanobis").fit([(known.features, known.logits, known.labels + moved)], known.head)
    with pytest.raises(ValueError, match=r"the head wants \(\[300, 24\], \[300, 5\], \[300\]\)"):
        make_detector("mahalanobis").fit([(known.features[:, :20], known.logits, known.labels)], known.head)


def test_a_head_that_is_no_last_layer_is_an_error():
    with pytest.raises(ValueError, match=r"the bias has shape \[4\], wanted \[3\]"):
        Head(torch.zeros(3, 5), torch.zeros(4))
    with pytest.raises(ValueError, match="not all finite"):
        Head(torch.full((3, 5), float("nan")))
    with pytest.raises(ValueError, match="wanted"):
        Head(torch.zeros(3))
