"""What every classifier network promises, whatever it is: shapes, features, gradients, settings, published files, export."""

import numpy as np
import onnxruntime
import pytest
import torch
from models import fake_timm
from torch import Tensor, nn

from components.core.config.strict import SettingsError, resolve
from components.core.settings import parse_model
from components.networks import MODELS
from components.networks.published import ClassNames

SMALL = {
    "vit": {"width": 24, "depth": 2, "heads": 3, "mlp_ratio": 2.0, "dropout": 0.1},
    # 4 x 4 tokens in padded windows, the second block's shifted; then 2 x 2, fewer than a window
    "swin": {"width": 16, "patch": 4, "depths": (2, 1), "heads": (2, 4), "window": 3},
    "swin_v2": {"width": 16, "patch": 4, "depths": (2, 1), "heads": (2, 4), "window": 3},
    "pp_lcnet": {"scale": 0.25, "strides": (1, 1, 2, 2, 2), "last_width": 40},
    "resnet18": {"width": 8},
    "resnet": {"variant": 18},
    "clip_vit": {"width": 24, "depth": 2, "heads": 3, "dropout": 0.1},
    "timm": {"dropout": 0.1, "variant": "tiny_conv"},
}
FEATURES = {"vit": 24, "swin": 32, "swin_v2": 32, "pp_lcnet": 40, "resnet18": 64, "resnet": 512, "clip_vit": 24, "timm": 24}
REQUIRED = {"timm": {"variant": "tiny_conv"}}


# Exporting takes seconds, so only one network is exported here by default: tests/families/test_promises.py exports ViT too, and
# tests/test_project.py ResNet-18.
EXPORTED = [name if name == "pp_lcnet" else pytest.param(name, marks=pytest.mark.slow) for name in SMALL]


@pytest.fixture(params=SMALL)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    fake_timm.install(monkeypatch)
    return request.param


def build(name: str, num_classes: int = 5, channels: int = 3, seed: int = 0) -> nn.Module:
    """A small network with a head and norms that are not zero and batch norm statistics that are not the initial ones."""
    torch.manual_seed(seed)
    network = resolve(MODELS, name, "name")(image_size=16, channels=channels, num_classes=num_classes, **SMALL[name])
    nn.init.normal_(network.head.weight)
    nn.init.normal_(network.head.bias)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, nn.LayerNorm) and not module.weight.any():
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network


def images(count: int = 4, channels: int = 3) -> Tensor:
    return torch.randn(count, channels, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_logits_are_the_head_of_the_returned_features(name: str, channels: int, training: bool) -> None:
    network = build(name, channels=channels).train(training)
    logits, features = network(images(channels=channels))
    assert logits.shape == (4, 5)
    assert features.shape == (4, FEATURES[name])
    assert torch.allclose(logits, features @ network.head.weight.T + network.head.bias, atol=1e-5)


def test_features_are_what_forward_returns(name: str) -> None:
    network = build(name).eval()
    assert torch.equal(network.features(images()), network(images())[1])


def test_gradient_reaches_every_parameter(name: str) -> None:
    network = build(name).train()
    logits, _ = network(images(8))
    torch.nn.functional.cross_entropy(logits, torch.arange(8) % 5).backward()
    starved = [key for key, value in network.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert starved == []


def test_images_do_not_influence_each_other_in_eval_mode(name: str) -> None:
    network = build(name).eval()
    together = network(images(4))[0]
    alone = torch.cat([network(image[None])[0] for image in images(4)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_channels_last_gives_the_same_result(name: str) -> None:
    network = build(name).eval()
    plain = network(images())[0]
    network = network.to(memory_format=torch.channels_last)
    assert torch.allclose(network(images().contiguous(memory_format=torch.channels_last))[0], plain, atol=1e-5)


def test_prefers_fp32_is_known_before_building(name: str) -> None:
    assert resolve(MODELS, name, "name").prefers_fp32 is (name == "pp_lcnet")


def test_every_setting_has_a_default_and_the_data_facts_have_none(name: str) -> None:
    settings = parse_model({"name": name, **REQUIRED.get(name, {})}, "runs.r.model")
    with torch.device("meta"):
        network = resolve(MODELS, name, "name")(image_size=32, channels=1, num_classes=3, **settings.options)
    assert network.head.out_features == 3
    assert {"image_size", "channels", "num_classes"}.isdisjoint(settings.options)


def test_a_wrong_type_is_refused_with_the_key_s_path(name: str) -> None:
    key = next(iter(SMALL[name]))
    with pytest.raises(SettingsError, match=rf"runs\.r\.model\.{key}"):
        parse_model({"name": name, key: "wide"}, "runs.r.model")


def test_own_state_loads_without_a_note(name: str) -> None:
    giver, taker = build(name, seed=0).eval(), build(name, seed=1).eval()
    assert taker.load_published(giver.state_dict()).lines() == []
    assert torch.equal(taker(images())[0], giver(images())[0])


@pytest.mark.parametrize(("keep", "told"), [(True, "9 classes"), (False, "no head")])
def test_a_foreign_head_starts_fresh_and_the_rest_is_loaded(name: str, keep: bool, told: str) -> None:
    giver, taker = build(name, num_classes=9).eval(), build(name, seed=1).eval()
    fresh = taker.head.weight.clone()
    state = {key: value for key, value in giver.state_dict().items() if keep or not key.startswith("head.")}
    assert taker.load_published(state).lines() == [f"head: the file has {told}, this view 5: starts fresh"]
    assert torch.equal(taker.head.weight, fresh)
    assert torch.equal(taker.features(images()), giver.features(images()))


@pytest.mark.parametrize(
    ("theirs", "kind", "told"),
    [
        (tuple("abcde"), None, ""),
        (None, "kept", "head: 5 classes, kept; the file does not name them"),
        (tuple("abced"), "fresh", "head: the file's classes are a, b, c, e, d, this view's a, b, c, d, e: starts fresh"),
    ],
)
def test_a_head_of_as_many_classes_is_kept_only_if_their_names_agree(name: str, theirs, kind, told) -> None:
    giver, taker = build(name, seed=0), build(name, seed=1)
    own = taker.head.weight.clone()
    fitted = taker.load_published(giver.state_dict(), ClassNames(theirs, tuple("abcde")))
    assert fitted.lines(kind) == ([told] if told else [])
    assert torch.equal(taker.head.weight, own if kind == "fresh" else giver.head.weight)
    assert fitted.taken == len(giver.state_dict()) - (2 if kind == "fresh" else 0)


def test_a_grey_picture_has_the_same_features_by_weights_for_rgb_and_for_grey(name: str) -> None:
    rgb, grey, back = build(name, seed=0).eval(), build(name, channels=1, seed=1).eval(), build(name, seed=2).eval()
    assert "RGB, this view is grey: channels summed" in grey.load_published(rgb.state_dict()).lines("adapted")[0]
    picture = images(channels=1)
    assert torch.allclose(grey(picture)[0], rgb(picture.expand(-1, 3, -1, -1))[0], atol=1e-4)
    assert "grey images, this view is RGB" in back.load_published(grey.state_dict()).lines("adapted")[0]
    assert torch.allclose(back(picture.expand(-1, 3, -1, -1))[0], grey(picture)[0], atol=1e-4)


def test_a_file_that_does_not_fit_is_refused_before_a_weight_changes(name: str) -> None:
    network = build(name)
    state = network.state_dict()
    first, second = [key for key in state if key.endswith("weight") and not key.startswith("head.")][:2]
    file = {key: value + 1 for key, value in state.items() if key != first} | {
        f"extra_{i}.weight": torch.ones(1) for i in range(9)
    }
    file[second] = torch.ones(2, 7)
    before = {key: value.clone() for key, value in state.items()}
    with pytest.raises(ValueError) as caught:
        network.load_published(file)
    message = str(caught.value)
    assert f"1 missing: {first};" in message
    assert "9 left over: extra_0.weight" in message
    assert "extra_7.weight, ..." in message
    assert "extra_8" not in message
    assert f"1 of another shape: {second} (2, 7) instead of {tuple(state[second].shape)}" in message
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", EXPORTED, indirect=True)
def test_onnx_graph_gives_the_same_answers_at_other_batch_sizes(name: str, tmp_path) -> None:
    network = build(name).eval()
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        network,
        (images(2),),
        dynamo=True,
        input_names=["image"],
        output_names=["logits", "features"],
        dynamic_shapes={"image": {0: batch}},
        verbose=False,
    )
    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 7):
        found = session.run(["logits", "features"], {"image": images(count).numpy()})
        wanted = network(images(count))
        for one, other in zip(found, wanted, strict=True):
            assert np.abs(one - other.detach().numpy()).max() <= 1e-4


def test_rectangular_images_are_taken(name: str) -> None:
    torch.manual_seed(0)
    network = resolve(MODELS, name, "name")(image_size=(16, 24), channels=3, num_classes=5, **SMALL[name]).eval()
    assert network.takes_rectangles
    logits, features = network(torch.randn(2, 3, 16, 24))
    assert (logits.shape, features.shape) == ((2, 5), (2, FEATURES[name]))
