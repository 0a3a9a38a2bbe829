"""Gated convolutions: rectangles, labels that are heard everywhere, and gates by their equation."""

import pytest
import torch

from components.families.acvae_vc.networks import ACVAE
from components.families.stargan_vc.networks import StarGANVC
from components.networks.gated_convolutions import GatedConvolution, Shape

KINDS = ("1d", "2d")


def test_a_gate_is_its_equation():
    layer = GatedConvolution(3, 5, (3, 5), labels=2, normed=False)
    x, label = torch.randn(2, 3, 6, 7), torch.randn(2, 2)
    maps = label[:, :, None, None].expand(2, 2, 6, 7)
    whole = layer.convolution(torch.cat([x, maps], 1))
    torch.testing.assert_close(layer(x, label), whole[:, :5] * torch.sigmoid(whole[:, 5:]))


def test_the_label_is_heard_far_from_the_border():
    torch.manual_seed(0)
    layer = GatedConvolution(2, 8, (1, 5), labels=3)
    x = torch.randn(1, 2, 1, 200)
    difference = (layer(x, torch.eye(3)[:1]) - layer(x, torch.eye(3)[1:2])).abs()[..., 50:150]
    assert difference.mean() > 0.05, "an instance norm leaves 0.003 of it"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(16, 64), (32, 20), 24])
def test_pictures_of_any_shape_keep_it(kind, size):
    height, width = (size, size) if isinstance(size, int) else size
    image, label = torch.rand(2, 1, height, width), torch.eye(3)[:2]
    facts = {"image_size": size, "channels": 1, "num_domains": 3, "convolution": kind}
    networks = StarGANVC(**facts, width=4, discriminator_width=4)
    assert networks.generator(image, label).shape == image.shape
    assert networks.discriminator(image, label).shape == (2, width // 4)
    assert networks.classifier(image).shape == (2, 3)
    coder = ACVAE(**facts, width=4, latent_dim=3, classifier_width=4)
    assert [moment.shape for moment in coder.encode(image, label)] == [(2, 3, 1, width // 4)] * 2
    assert coder(image, label).shape == image.shape


@pytest.mark.parametrize("kind", KINDS)
def test_the_label_changes_every_pixel_and_no_picture_another(kind):
    torch.manual_seed(0)
    generator = StarGANVC(image_size=(16, 32), channels=1, num_domains=3, convolution=kind, width=8).generator
    image, label = torch.rand(3, 1, 16, 32), torch.eye(3)
    made, other = generator(image, label), generator(image, label.roll(1, 0))
    assert ((made - other).abs() > 1e-7).float().mean() > 0.99
    torch.testing.assert_close(generator(image[:1], label[:1]), made[:1])
    assert torch.equal(generator.eval()(image, label), made), "norms are the same in training and in use"


def test_published_widths_and_what_is_refused():
    facts = {"image_size": (80, 64), "channels": 1, "num_domains": 4}
    assert StarGANVC(**facts).generator.encoder.layers[0].convolution.out_channels == 2 * 64
    assert StarGANVC(**facts, convolution="2d").generator.encoder.layers[0].convolution.out_channels == 2 * 32
    for size in ((80, 66), (8, 64), 30):
        with pytest.raises(ValueError, match=r"image_size: .* is not allowed: multiples of 4 pixels, at least 16"):
            Shape("1d", size, 1)
    with pytest.raises(ValueError, match="width: 0 is not allowed"):
        ACVAE(**facts, width=0)
