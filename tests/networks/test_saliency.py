"""Saliency against independent formulas."""

import pytest
import torch
from torch import nn

from components.networks.saliency import attention_rollout, grad_cam, scaled
from components.networks.vit import ViT


class Pooled(nn.Module):
    """Convolution, global mean, linear head: Grad-CAM is then the class activation map (Zhou et al. 2016, arXiv 1512.04150)."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 6, 3, padding=1), nn.Linear(6, 3)

    def forward(self, image):
        features = self.conv(image).mean((2, 3))
        return self.head(features), features


def test_grad_cam_of_pooled_features_is_the_class_activation_map():
    torch.manual_seed(0)
    network, image, label = Pooled().requires_grad_(False), torch.randn(4, 1, 5, 7), torch.tensor([0, 2, 1, 2])
    expected = torch.einsum("nd,ndhw->nhw", network.head.weight[label], network.conv(image)).relu()
    torch.testing.assert_close(grad_cam(network, image, label), scaled(expected))


def test_a_network_without_feature_maps_is_refused():
    class Flat(nn.Module):
        def forward(self, image):
            return image.flatten(1)[:, :3], image.flatten(1)

    with pytest.raises(ValueError, match="feature maps"):
        grad_cam(Flat(), torch.randn(2, 1, 4, 4), torch.zeros(2, dtype=torch.long))


def test_rollout_multiplies_the_blocks_from_the_first_to_the_last():
    torch.manual_seed(0)
    first, second = torch.rand(2, 3, 5, 5).softmax(-1), torch.rand(2, 3, 5, 5).softmax(-1)
    halves = [(attention.mean(1) + torch.eye(5)) / 2 for attention in (first, second)]
    expected = torch.stack([(halves[1][n] @ halves[0][n])[0, 1:] for n in range(2)])
    torch.testing.assert_close(attention_rollout([first, second]), expected)


def test_the_attention_weights_are_those_of_the_forward_pass():
    torch.manual_seed(0)
    vit = ViT(image_size=(8, 12), channels=1, num_classes=3, patch=4, width=16, depth=2, heads=2).eval()
    attention, x = vit.blocks[0].attn, torch.randn(2, 7, 16)
    value = attention.qkv(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)[2]
    mixed = (attention.weights(x) @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention.proj(mixed), attention(x))
    assert [tuple(weights.shape) for weights in vit.attentions(torch.randn(2, 1, 8, 12))] == [(2, 2, 7, 7)] * 2


def test_maps_are_scaled_to_0_and_1_and_a_constant_map_is_empty():
    maps = scaled(torch.stack([torch.arange(6.0).view(2, 3), torch.full((2, 3), 4.0)]))
    assert (maps[0].min(), maps[0].max(), maps[1].abs().max()) == (0, 1, 0)
