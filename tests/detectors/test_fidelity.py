"""Every score against an independent float64 formula over all images at once: relative 1e-6."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from detectors.known import BY_FEATURES, OPTIONS, fitted, make_known

from components.detectors.energy import Energy
from components.detectors.gradnorm import GradNorm
from components.detectors.knn import KNN
from components.detectors.mcm import MCM
from components.detectors.odin import ODIN
from components.detectors.react import ReAct
from components.detectors.residual import Residual
from components.detectors.shared import principal, quantile
from components.detectors.shared.principal import principal_dimension
from components.detectors.shared.protocol import Head
from components.detectors.shared.quantile import streamed_quantile
from components.detectors.vim import ViM


class Arrays(NamedTuple):
    """Float64 NumPy: training features, logits and labels; the last layer; features and logits of new images."""

    train: np.ndarray
    train_logits: np.ndarray
    labels: np.ndarray
    w: np.ndarray
    b: np.ndarray
    x: np.ndarray
    logits: np.ndarray


def arrays(known):
    head = (known.head.weight, known.head.bias_or_zero())
    return Arrays(*(t.numpy() for t in (known.features, known.logits, known.labels, *head, known.new, known.new_logits)))


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def shifted(x, a):
    """x - o, where o is the shortest solution of W o = -b (least squares, not a pseudo-inverse)."""
    return x - np.linalg.lstsq(a.w, -a.b, rcond=None)[0]


def residual_norms(x, a, dimension=None):
    """What the leading right singular vectors of the training features leave of x."""
    principal = np.linalg.svd(shifted(a.train, a))[2][: dimension or len(a.w.T) // 2]
    z = shifted(x, a)
    return np.linalg.norm(z - z @ principal.T @ principal, axis=1)


def squared_distances(x, mean, covariance):
    return np.einsum("nf,fg,ng->n", x - mean, np.linalg.inv(covariance), x - mean)


def to_classes(a):
    means = [a.train[a.labels == c].mean(0) for c in np.unique(a.labels)]
    centred = np.concatenate([a.train[a.labels == c] - mean for c, mean in zip(np.unique(a.labels), means, strict=True)])
    return np.min([squared_distances(a.x, mean, np.cov(centred.T, bias=True)) for mean in means], axis=0)


def msp(a):
    return softmax(a.logits).max(1)


def max_logit(a):
    return a.logits.max(1)


def energy(a, temperature=1.0):
    return temperature * np.log(np.exp(a.logits / temperature).sum(1))


def kl_matching(a):
    p, predicted = softmax(a.train_logits), a.train_logits.argmax(1)
    templates = [p[predicted == c].mean(0) for c in np.unique(predicted)]
    return -np.array([min(sum(row * np.log(row / d)) for d in templates) for row in softmax(a.logits)])


def react(a):
    clip = np.quantile(a.train, OPTIONS["react"]["quantile"])
    return np.log(np.exp(np.clip(a.x, None, clip) @ a.w.T + a.b).sum(1))


def mahalanobis(a):
    return -to_classes(a)


def relative_mahalanobis(a):
    return squared_distances(a.x, a.train.mean(0), np.cov(a.train.T, bias=True)) - to_classes(a)


def residual(a):
    return -residual_norms(a.x, a)


def vim(a):
    alpha = a.train_logits.max(1).mean() / residual_norms(a.train, a).mean()
    return energy(a) - alpha * residual_norms(a.x, a)


def nusa(a):
    z, (rows, _) = shifted(a.x, a), np.linalg.qr(a.w.T)
    null = z - z @ rows @ rows.T
    return np.sqrt((z**2).sum(1) - (null**2).sum(1)) / np.linalg.norm(z, axis=1)


def gradnorm(a, temperature=1.0):
    """By autograd, one image at a time."""
    norms = []
    for row in torch.from_numpy(a.x):
        weight = torch.from_numpy(a.w).requires_grad_()
        log_p = ((row @ weight.T + torch.from_numpy(a.b)) / temperature).log_softmax(0)
        (gradient,) = torch.autograd.grad(-log_p.mean(), weight)  # of KL(u || p), but for a constant
        norms.append(gradient.abs().sum().item())
    return np.array(norms)


def knn(a):
    unit, z = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (a.train, a.x))
    return -np.sort(np.linalg.norm(z[:, None] - unit, axis=2), axis=1)[:, OPTIONS["knn"]["neighbours"] - 1]


def mcm(a, temperature=1.0):
    unit, z = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (a.w, a.x))
    return softmax(z @ unit.T / temperature).max(1)


@pytest.mark.parametrize("name", BY_FEATURES)
def test_the_score_is_the_formula(name, known):
    found = fitted(name, known).score(known.new, known.new_logits)
    np.testing.assert_allclose(found, globals()[name](arrays(known)), rtol=1e-6)


@pytest.mark.parametrize("kind", [Energy, GradNorm, MCM])
def test_the_score_has_its_temperature(kind, known):
    detector = kind(temperature=3.0)
    detector.fit(known.batches(64), known.head)
    expected = globals()[kind.name](arrays(known), temperature=3.0)
    np.testing.assert_allclose(detector.score(known.new, known.new_logits), expected, rtol=1e-6)


def test_odin_is_the_formula_for_a_linear_network(known):
    """Of a linear network the gradient is written down: by x of -log p_y(x / T), it is (p W - w_y) / T."""
    w, b = known.head.weight.numpy(), known.head.bias.numpy()
    x, temperature, epsilon = known.new.numpy(), 3.0, 0.01
    logits = x @ w.T + b
    gradient = softmax(logits / temperature) @ w - w[logits.argmax(1)]
    moved = x - 2 * epsilon * np.sign(gradient)  # twice, since [-1, 1] is twice as wide as [0, 1]
    expected = softmax((moved @ w.T + b) / temperature).max(1)

    layer = torch.nn.Linear(*w.T.shape).double()
    layer.load_state_dict({"weight": known.head.weight, "bias": known.head.bias})
    image = known.new[:, :, None, None]
    found = ODIN(temperature=temperature, epsilon=epsilon).score_images(lambda image: layer(image.flatten(1)), image)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert layer.weight.grad is None
    assert not found.requires_grad


def test_odin_without_a_step_and_at_temperature_1_is_msp_and_at_least_float32(known):
    """By images [n, F + 1, 1, 1]; the last pixel has a gradient of 0, and stays as it is with a step too."""
    images = torch.cat([known.new, 9 + known.new[:, :1]], dim=1)[:, :, None, None]

    def network(image, dtype=torch.float64):
        return (image[:, :-1].flatten(1) @ known.head.weight.T + known.head.bias + 0 * image[:, -1, 0]).to(dtype)

    found = ODIN(temperature=1.0, epsilon=0.0).score_images(network, images)
    np.testing.assert_allclose(found, msp(arrays(known)), rtol=1e-12)
    assert ODIN(temperature=0.5).score_images(network, images).isfinite().all()
    rough = ODIN(temperature=1.0, epsilon=0.0).score_images(lambda image: network(image, torch.bfloat16), images)
    assert (found.dtype, rough.dtype) == (torch.float64, torch.float32)


@pytest.mark.parametrize("kind", [Residual, ViM])
def test_a_principal_space_of_one_dimension_will_do(kind, known):
    detector, a = kind(dimension=1), arrays(known)
    detector.fit(known.batches(64), known.head)
    norms, train = (residual_norms(x, a, dimension=1) for x in (a.x, a.train))
    expected = -norms if kind is Residual else energy(a) - a.train_logits.max(1).mean() / train.mean() * norms
    np.testing.assert_allclose(detector.score(known.new, known.new_logits), expected, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_a_class_that_repeats_another_shows_nusa_nothing_more(scale, known):
    weight = scale * known.head.weight
    repeated = Head(torch.cat([weight, weight[:1] + weight[1:2]]))
    scores = [
        fitted("nusa", make_known(known.features, known.labels, head, known.new)).score(known.new, known.new[:, :6])
        for head in (Head(weight), repeated)
    ]
    torch.testing.assert_close(*scores, rtol=1e-9, atol=0)


@pytest.mark.parametrize(("cells", "rows"), [(2 * 300, 2), (100, 1)])
def test_knn_compares_no_more_images_at_once_than_memory_is_meant_for(known, monkeypatch, cells, rows):
    whole, sizes, distance = fitted("knn", known).score(known.new, known.new_logits), [], KNN._distance
    monkeypatch.setattr("components.detectors.knn.CELLS", cells)
    monkeypatch.setattr(KNN, "_distance", lambda self, z, bank: sizes.append(len(z)) or distance(self, z, bank))
    torch.testing.assert_close(fitted("knn", known).score(known.new, known.new_logits), whole)
    assert set(sizes) == {rows}


@pytest.mark.parametrize("name", ["mahalanobis", "relative_mahalanobis", "kl_matching"])
def test_a_class_of_one_image_counts(name, known):
    """Class 4: of the labels, and of the predictions; the others are those of the first four."""
    features = known.features.clone()
    head = Head(known.head.weight, known.head.bias - torch.tensor([0, 0, 0, 0, 30]))
    features[0] += 60 * head.weight[4] / head.weight[4].square().sum()
    rare = make_known(features, known.labels.clamp(max=3).index_fill(0, torch.tensor([0]), 4), head, known.new)
    assert (rare.logits.argmax(1) == 4).sum() == (rare.labels == 4).sum() == 1
    found = fitted(name, rare).score(features[:1], rare.logits[:1])
    a = arrays(rare)._replace(x=features[:1].numpy(), logits=rare.logits[:1].numpy())
    np.testing.assert_allclose(found, globals()[name](a), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("quantile", [0.0, 1.0])
def test_react_clips_at_the_least_or_the_greatest_activation(quantile, known):
    detector = ReAct(quantile=quantile)
    detector.fit(known.batches(64), known.head)
    clip = known.features.max() if quantile else known.features.min()
    expected = (known.new.minimum(clip) @ known.head.weight.T + known.head.bias).logsumexp(1)
    torch.testing.assert_close(detector.score(known.new, known.new_logits), expected)


def test_a_second_moment_stays_on_its_device():
    """NumPy, which computes one half of it alone, is for the CPU."""
    assert principal._square(torch.zeros(4, 3, device="meta")).shape == (3, 3)


def test_residual_space_is_orthogonal_to_the_principal_space(known):
    detector = fitted("residual", known)
    space, z = detector.space.numpy(), known.features.numpy() - detector.origin.numpy()
    principal = np.linalg.svd(z)[2][: len(space) // 2]
    assert np.abs(principal @ space).max() < 1e-12
    np.testing.assert_allclose(space.T @ space, np.eye(space.shape[1]), atol=1e-12)


@pytest.mark.parametrize("name", ["vim", "residual", "nusa", "mahalanobis", "relative_mahalanobis", "knn"])
def test_a_rotation_of_the_feature_space_changes_nothing(name, known):
    torch.manual_seed(1)
    turn, _ = torch.linalg.qr(torch.randn(known.features.shape[1], known.features.shape[1], dtype=torch.float64))
    turned = make_known(known.features @ turn, known.labels, Head(known.head.weight @ turn, known.head.bias), known.new @ turn)
    before = fitted(name, known).score(known.new, known.new_logits)
    torch.testing.assert_close(fitted(name, turned).score(turned.new, turned.new_logits), before, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["mahalanobis", "relative_mahalanobis"])
@pytest.mark.parametrize("units", [[1e-4] + 23 * [1.0], 24 * [1e-6], 24 * [1e6]], ids=["one", "small", "large"])
def test_the_unit_in_which_a_feature_is_measured_does_not_matter(name, units, known):
    """A direction of little variance is no rounding: float32 has seven digits of it."""
    unit = torch.tensor(units).double()
    other = make_known(known.features * unit, known.labels, known.head, known.new * unit)
    before = fitted(name, known).score(known.new, known.new_logits)
    torch.testing.assert_close(fitted(name, other).score(other.new, other.new_logits), before, rtol=1e-4, atol=1e-4)


def test_the_probability_of_vim_is_what_the_virtual_logit_leaves(known):
    detector = fitted("vim", known)
    norms = torch.linalg.vector_norm((known.new - detector.origin) @ detector.space, dim=1, keepdim=True)
    virtual = torch.cat([known.new_logits, detector.alpha * norms], dim=1).softmax(1)[:, -1]
    torch.testing.assert_close(detector.probability(known.new, known.new_logits), 1 - virtual)


def test_alpha_matches_the_residuals_to_the_largest_logits(known):
    detector = fitted("vim", known)
    norms = torch.linalg.vector_norm((known.features - detector.origin) @ detector.space, dim=1)
    torch.testing.assert_close((detector.alpha * norms).mean(), known.logits.amax(1).mean())


def test_without_a_bias_the_origin_is_zero(known):
    bare = make_known(known.features, known.labels, Head(known.head.weight), known.new)
    detector = fitted("vim", bare)
    assert not detector.origin.any()
    np.testing.assert_allclose(detector.score(bare.new, bare.new_logits), vim(arrays(bare)), rtol=1e-6)


@pytest.mark.parametrize(("rows", "size"), [(64, 50), (50, 64), (300, 7), (7, 300)])
def test_however_many_images_are_summed_at_once_the_space_is_the_same(known, monkeypatch, rows, size):
    monkeypatch.setattr(principal, "ROWS", rows)
    found = fitted("vim", known, size).score(known.new, known.new_logits)
    np.testing.assert_allclose(found, vim(arrays(known)), rtol=1e-6)


def test_a_class_that_is_never_predicted_is_passed_over_by_kl_matching(known):
    head = Head(known.head.weight, known.head.bias - torch.tensor([0, 1e3, 0, 0, 0]))
    rare = make_known(known.features, known.labels, head, known.new)
    assert 1 not in rare.logits.argmax(1)
    detector = fitted("kl_matching", rare)
    assert detector.log_templates.shape == (len(rare.logits.argmax(1).unique()), 5)
    others = make_known(
        known.features, known.labels.clamp(max=3), Head(head.weight[[0, 2, 3, 4]], head.bias[[0, 2, 3, 4]]), known.new
    )
    torch.testing.assert_close(
        detector.score(rare.new, rare.new_logits), fitted("kl_matching", others).score(others.new, others.new_logits)
    )


@pytest.mark.parametrize(("features", "dimension"), [(2048, 1000), (2047, 512), (768, 512), (767, 383), (512, 256)])
def test_the_dimension_follows_the_papers_rule(features, dimension):
    assert principal_dimension(features) == dimension


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99, 0.9995, 1.0])
def test_the_streamed_quantile_is_numpys(dtype, share):
    torch.manual_seed(0)
    values = torch.randn(997, dtype=dtype) * torch.logspace(-30, 30, 997, dtype=dtype)
    values[::7], values[3::7] = 0.0, -0.0
    batches = values.split(100)
    expected = np.quantile(values.double().numpy(), share)
    assert streamed_quantile(lambda: iter(batches), share).item() == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.parametrize(("dtype", "reads"), [(torch.bfloat16, 3), (torch.float32, 3), (torch.float64, 5)])
def test_the_features_are_read_three_or_five_times_for_a_quantile(dtype, reads):
    asked = []
    streamed_quantile(lambda: asked.append(dtype) or [torch.arange(10).to(dtype)], 0.5)
    assert len(asked) == reads


def test_more_equal_values_than_float32_counts_are_counted(monkeypatch):
    """As the zeros of a rectified layer are: each value stands for 2 ** 24 + 1, so that their ranks end at odd numbers."""
    digits, many = quantile._digits, 2**24 + 1

    class Digits:
        def __init__(self, found):
            self.found = found

        def bincount(self, minlength):
            return many * self.found.bincount(minlength=minlength)

    monkeypatch.setattr(quantile, "_digits", lambda *key: Digits(digits(*key)))
    found = quantile._order_statistics(lambda: [torch.tensor([3.0, 0.0, 7.0])], torch.float32, (many - 1, many, 2 * many))
    assert [value.item() for value in found] == [0.0, 3.0, 7.0]
