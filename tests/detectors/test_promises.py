"""What every detector promises, for all in ``DETECTORS``."""

import inspect

import pytest
import torch
from detectors.known import BY_FEATURES, Known, fitted, make_detector, make_known
from safetensors.torch import load, save

from components.core.config.strict import resolve
from components.detectors import DETECTORS
from components.detectors.odin import ODIN
from components.detectors.shared.protocol import Head
from components.metrics.detection import auroc


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_stands_in_the_file_of_its_name_and_its_settings_have_defaults(name):
    module, _, _ = DETECTORS[name].partition(":")
    detector = resolve(DETECTORS, name, "detector")
    assert (module, detector.name) == (f"components.detectors.{name}", name)
    for parameter in inspect.signature(detector, eval_str=True).parameters.values():
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.default is not parameter.empty


@pytest.mark.parametrize("name", BY_FEATURES)
def test_higher_means_more_in_distribution(name, toy):
    score = fitted(name, toy).score(toy.new, toy.new_logits).numpy()
    assert auroc(score[:200], score[200:]) > 0.9


def test_higher_means_more_in_distribution_for_odin(toy):
    score = ODIN().score_images(lambda x: x @ toy.head.weight.T + toy.head.bias, toy.new).numpy()
    assert auroc(score[:200], score[200:]) > 0.9


@pytest.mark.parametrize("name", BY_FEATURES)
def test_the_size_of_the_batches_does_not_matter(name, known):
    whole = fitted(name, known, size=300).score(known.new, known.new_logits)
    detector = fitted(name, known, size=11)
    parts = zip(known.new.split(7), known.new_logits.split(7), strict=True)
    torch.testing.assert_close(torch.cat([detector.score(*part) for part in parts]), whole, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", BY_FEATURES)
def test_the_order_of_the_images_does_not_matter(name, known):
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    mixed = make_known(known.features[order], known.labels[order], known.head, known.new)
    scores = [fitted(name, each).score(known.new, known.new_logits) for each in (known, mixed)]
    torch.testing.assert_close(*scores, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", BY_FEATURES)
def test_the_state_goes_through_a_file(name, known):
    detector = fitted(name, known)
    other = make_detector(name)
    other.load(load(save(detector.state())))
    torch.testing.assert_close(
        other.score(known.new, known.new_logits), detector.score(known.new, known.new_logits), rtol=0, atol=0
    )


@pytest.mark.parametrize("name", BY_FEATURES)
def test_scores_are_float64_for_float64_and_float32_for_all_else(name, known):
    detector = fitted(name, known)
    exact = detector.score(known.new, known.new_logits)
    assert exact.dtype == torch.float64
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        rough = detector.score(known.new.to(dtype), known.new_logits.to(dtype))
        assert rough.dtype == torch.float32
        again = fitted(name, known).float().score(known.new.to(dtype), known.new_logits.to(dtype))
        torch.testing.assert_close(again, rough, rtol=1e-6, atol=1e-6)  # .float() of the state loses nothing
    single = detector.score(known.new.float(), known.new_logits.float())
    torch.testing.assert_close(single.double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BY_FEATURES)
def test_a_fit_on_float32_parameters_and_features_keeps_no_gradients(name, known):
    weight, bias = (torch.nn.Parameter(part.float()) for part in (known.head.weight, known.head.bias))
    features = known.features.float().requires_grad_()
    single = Known(features, known.logits.float(), known.labels, Head(weight, bias), known.new, known.new_logits)
    detector = fitted(name, single)
    assert not any(part.requires_grad for part in (single.head.weight, single.head.bias, *detector.state().values()))
    found = detector.score(known.new, known.new_logits)
    torch.testing.assert_close(found, fitted(name, known).score(known.new, known.new_logits), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", BY_FEATURES)
def test_a_nan_stays_in_its_row(name, known):
    detector = fitted(name, known)
    features, logits = known.new.clone(), known.new_logits.clone()
    features[3], logits[3] = float("nan"), float("nan")
    score = detector.score(features, logits)
    assert score.isnan().nonzero().flatten().tolist() == [3]
    torch.testing.assert_close(score[4:], detector.score(known.new, known.new_logits)[4:])


@pytest.mark.parametrize("name", BY_FEATURES)
def test_no_image_gives_no_score(name, known):
    assert fitted(name, known).score(known.new[:0], known.new_logits[:0]).shape == (0,)


@pytest.mark.parametrize("name", ["vim", "residual", "mahalanobis", "relative_mahalanobis", "kl_matching", "react"])
def test_memory_does_not_grow_with_the_images(name, known):
    """Nothing that is kept has a dimension of the number of images, nor holds on to a batch."""
    for tensor in fitted(name, known).state().values():
        assert known.features.shape[0] not in tensor.shape
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


@pytest.mark.parametrize("name", ["mahalanobis", "relative_mahalanobis"])
def test_a_direction_in_which_rounding_alone_moves_is_no_direction(name):
    """Layer normalisation, as a ViT ends with, leaves no variance along the mean of the units but what float32 makes."""
    torch.manual_seed(0)
    raw, labels = torch.randn(300, 16), torch.arange(300) % 2
    means = torch.randn(1, 16) * torch.tensor([[1.0], [-1.0]])  # they cancel: rounding goes by the length of the features
    head = Head(torch.randn(2, 16))

    def scores(dtype):
        features = torch.nn.functional.layer_norm((0.1 * raw + means[labels]).to(dtype), (16,))
        logits = features @ head.weight.to(dtype).T
        detector = make_detector(name)
        detector.fit([(features, logits, labels)], Head(head.weight.to(dtype)))
        return detector.score(features, logits).double()

    torch.testing.assert_close(scores(torch.float32), scores(torch.float64), rtol=1e-3, atol=1e-3)
