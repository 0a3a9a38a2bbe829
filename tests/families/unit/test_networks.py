"""UNIT as MUNIT's special case, its published size and names, its noise, and ONNX."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from components.core.recipe import Graph
from components.families.munit.networks import MUNIT
from components.families.unit.networks import UNIT
from components.networks.translator_blocks import of_domain
from components.stages.export.onnx_graph import write_graph

TINY = {"image_size": 16, "channels": 2, "width": 4, "downsamplings": 2, "blocks": 2}


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tiny() -> UNIT:
    torch.manual_seed(0)
    network = UNIT(**TINY)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network


def test_number_of_parameters_is_the_published_one() -> None:
    with torch.device("meta"):
        network = UNIT(image_size=256, channels=3)
    assert sum(parameter.numel() for parameter in network.parameters()) == 11_140_483


def test_it_is_munit_with_one_style() -> None:
    """Its encoder is the content encoder, its decoder has AdaIN with shift 0 and scale 1: checked by MUNIT's equations."""
    network, other, image = tiny(), MUNIT(**TINY), noise(3, 2, 16, 16)
    other.enc_content.load_state_dict(network.enc.state_dict())
    other.dec.load_state_dict(network.dec.state_dict())
    plain = torch.tensor([0.0, 1.0])[None, None, :, None].expand(3, 4, 2, 16)
    with torch.no_grad():
        mean = network.encode(image)
        assert torch.equal(mean, other.enc_content(image))
        assert torch.allclose(network.decode(mean), other.dec(mean, plain), atol=1e-6)


def test_the_noise_is_added_to_the_mean_and_the_mean_is_returned_for_its_penalty() -> None:
    network, image, e = tiny(), noise(3, 2, 16, 16), noise(3, 16, 4, 4, seed=2)
    with torch.no_grad():
        answer, mean = network(image, e)
        assert torch.equal(mean, network.encode(image))
        assert torch.equal(answer, network.decode(mean + e))
        assert torch.equal(network(image, torch.zeros_like(e))[0], network.decode(mean))
        assert (answer - network.decode(mean)).abs().max() > 1e-2


def test_an_image_of_one_colour_gives_finite_gradients_at_the_published_start() -> None:
    """Biases are 0 then: instance norms make all values 0, and the layer norms' deviation is 0."""
    network = UNIT(**TINY)
    answer, mean = network(torch.full((1, 2, 16, 16), 0.5), torch.zeros(1, 16, 4, 4))
    (answer.square().sum() + mean.square().mean()).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_a_published_file_is_read_under_its_names() -> None:
    network = tiny()
    file = {domain: {key: noise(*value.shape) for key, value in network.state_dict().items()} for domain in "ab"}
    names = {"enc.model.0.conv.weight", "enc.model.3.model.1.model.0.conv.bias", "dec.model.0.model.1.model.1.conv.weight",
             "dec.model.2.norm.gamma", "dec.model.4.conv.bias", "dec.model.5.conv.weight"}  # fmt: skip
    assert names <= file["b"].keys()
    idle = {"enc.model.3.model.0.model.0.norm.running_mean": noise(16)}  # old files have them
    assert network.load_published({**of_domain(file, "b"), **idle}).lines() == []
    assert all(torch.equal(value, file["b"][key]) for key, value in network.state_dict().items())
    with pytest.raises(ValueError, match=r"1 missing: enc\.model\.0\.conv\.weight"):
        network.load_published({key: value for key, value in file["a"].items() if key != "enc.model.0.conv.weight"})


def test_gradient_reaches_every_parameter() -> None:
    network = tiny()
    answer, _ = network(noise(2, 2, 16, 16), noise(2, 16, 4, 4, seed=2))
    answer.square().sum().backward()
    assert [key for key, value in network.named_parameters() if value.grad is None or not value.grad.any()] == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"image_size": 30}, "image_size: 30 is not a multiple of 4"),
        ({"image_size": 4}, "image_size: 4 is too small for downsamplings: 2, which needs 8"),
        ({"blocks": 0}, "blocks: 0 is not allowed: at least 1"),
    ],
)
def test_bad_settings_say_what_is_allowed(settings, told) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=told):
        UNIT(**{**TINY, **settings})


@pytest.mark.slow  # as all graphs of translators: tests/families/test_promises.py
def test_the_decoder_s_graph_answers_as_torch_does_for_any_batch(tmp_path) -> None:
    """The encoder's is MUNIT's content encoder, whose graph is tested there."""
    module, path = tiny().eval().dec, tmp_path / "graph.onnx"
    write_graph(Graph(module, lambda batch: {"latent": batch["image"]}, ("image",)), {"image": noise(3, 16, 4, 4)}, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for n in (1, 7):
        latent = 2 * noise(n, 16, 4, 4, seed=n) + 3
        with torch.no_grad():
            wanted = module(latent).numpy()
        assert np.abs(session.run(["image"], {"latent": latent.numpy()})[0] - wanted).max() <= 1e-5
