"""Networks of timm: their heads, sizes, colours and weights, by a stand-in; by timm itself where it is installed."""

import importlib.util
import sys

import pytest
import torch
from models import fake_timm

from components.networks.saliency import saliency
from components.networks.timm_models.network import TimmNetwork


@pytest.fixture(autouse=True)
def timm(request, monkeypatch):
    if "real" not in request.node.name:
        fake_timm.install(monkeypatch)


def build(variant="tiny_conv", **settings):
    torch.manual_seed(1)
    return TimmNetwork(**{"image_size": 16, "channels": 3, "num_classes": 3, "variant": variant} | settings)


def images(*size, channels=3):
    return torch.randn(2, channels, *(size or (16, 16)), generator=torch.Generator().manual_seed(0))


def test_without_timm_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda *names: None)
    with pytest.raises(ValueError, match=r"^name: timm needs its package, .* -m pip install timm`$"):
        build()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"variant": ""}, r"^variant: missing; .* timm's 3 networks"),
        ({"variant": "tiny_cnv"}, r"^variant: timm has no 'tiny_cnv'; the nearest are tiny_conv"),
        ({"variant": "tiny_conv.own_in4"}, r"^variant: timm has no 'tiny_conv.own_in4'; the nearest are tiny_conv.own_in3"),
        ({"variant": "tiny_pixels", "pretrained": True}, r"^pretrained: timm has no weights for tiny_pixels"),
        ({"variant": "tiny_conv", "drop_path": 0.1}, r"^variant: tiny_conv cannot be built with drop_path_rate \(.*\)$"),
        ({"variant": "tiny_conv", "dropout": 1.0}, r"^dropout: 1.0 is not allowed"),
        (
            {"variant": "tiny_conv", "image_size": 2},
            r"^variant: tiny_conv does not take images of 2 x 2 with 3 channel\(s\) \(.*\)$",
        ),
        ({"variant": "tiny_tokens", "image_size": (18, 16)}, r"\(Input height is no multiple of 4\.\)$"),
    ],
)
def test_what_timm_has_not_is_said_in_one_line(settings, told):
    with torch.device("meta"), pytest.raises(ValueError, match=told):
        build(**settings)


@pytest.mark.parametrize("variant", ["tiny_conv", "tiny_pixels"])
def test_timm_s_weights_give_timm_s_logits(variant):
    reference = fake_timm.create_model(variant).eval()
    network = build(variant).eval()
    assert network.load_published(reference.state_dict()).lines() == []
    assert torch.equal(network(images())[0], reference(images()))


def test_positions_of_another_size_are_interpolated_and_two_heads_left_out():
    reference = fake_timm.create_model("tiny_tokens")
    network = build("tiny_tokens", image_size=(24, 16), channels=1).eval()
    assert network.load_published(reference.state_dict()).lines() == [
        "backbone: positions: interpolated to this image size by timm's rule",
        "head.fc and head_dist: the file's head is not one linear layer on these features: left out",
        "head: the file has no head, this view 3: starts fresh",
        "backbone.stem.weight: the file is for RGB, this view is grey: channels summed",
    ]
    expected = torch.nn.functional.interpolate(reference.positions, (6, 4), mode="bicubic")
    assert torch.equal(network.backbone.positions, expected)


def test_grad_cam_sees_maps_whatever_the_order_of_their_axes():
    """The maps are pooled, so Grad-CAM is the class activation map: the head's row times the maps."""
    for variant in ("tiny_conv", "tiny_pixels"):
        network, label = build(variant).eval(), torch.tensor([2, 0])
        maps = network.backbone.forward_features(images(16, 24))
        maps = maps if variant == "tiny_conv" else maps.permute(0, 3, 1, 2)
        raw = torch.einsum("nd,ndhw->nhw", network.head.weight[label], maps).relu()
        low, high = raw.amin((1, 2), keepdim=True), raw.amax((1, 2), keepdim=True)
        method, found = saliency(network, images(16, 24), label)
        assert method == "Grad-CAM"
        torch.testing.assert_close(found, (raw - low) / (high - low).clamp(min=1e-12))


def test_tokens_have_no_maps_and_the_reason_is_given():
    with pytest.raises(ValueError, match=r"^tiny_tokens of timm ends in a sequence of tokens"):
        saliency(build("tiny_tokens").eval(), images(), torch.tensor([0, 1]))


def test_weights_out_of_reach_are_said_in_one_line(monkeypatch):
    network, state = build(pretrained=True), torch.random.get_rng_state()
    assert network.pretrained_tensors().keys() == fake_timm.create_model("tiny_conv").state_dict().keys()
    torch.random.set_rng_state(state)
    network.pretrained_tensors()
    assert torch.equal(torch.random.get_rng_state(), state), "no draw of the training moves"
    monkeypatch.setattr(fake_timm, "offline", True)
    told = r"^model.pretrained: the weights of tiny_conv are not .* downloaded \(the hub is out of reach\)$"
    with pytest.raises(ValueError, match=told):
        network.pretrained_tensors()


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant", ["convnext_atto", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mobilenetv3_small_050"]
)
def test_real_timm_gives_its_own_logits_and_takes_other_images(variant):
    real = pytest.importorskip("timm")
    reference = real.create_model(variant).eval()
    network = TimmNetwork(image_size=224, channels=3, num_classes=1000, variant=variant).eval()
    assert network.load_published(reference.state_dict()).lines() == []
    picture = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(network(picture)[0], reference(picture), rtol=0, atol=1e-5)
    other = TimmNetwork(image_size=(96, 128), channels=1, num_classes=5, variant=variant)
    kinds = {note.kind for note in other.load_published(reference.state_dict()).notes}
    assert {"fresh", "adapted"} <= kinds
    assert other(torch.randn(2, 1, 96, 128))[0].shape == (2, 5)
