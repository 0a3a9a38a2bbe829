"""A training iteration of StyleGAN2 with lazy penalties against the same with both penalties in every iteration.

The second row is modulated convolution: one convolution for the batch, with inputs and outputs scaled, against a convolution in
groups with each image's own weights, as is usual.
"""

import math

import torch
import torch.nn.functional as F

MODEL = {"latent_dim": 64, "style_dim": 64, "mapping_layers": 4, "base": 1024, "max_width": 64}
SIZE, BATCH, STEPS = 32, 16, 16  # pixels, images, updates in which every penalty is due at least once


def bench_stylegan2(ratio):
    """Seconds an iteration of both; the bars are 1.5 and 1.2."""
    from components.core.runtime import set_threads

    set_threads(1)
    every, lazy = (recipe_of(path_length_every=path, r1_every=r1) for path, r1 in ((1, 1), (4, 16)))
    image = torch.rand(BATCH, 3, SIZE, SIZE).mul(2).sub(1)
    batches = {"train": {"image": image}}
    runs = (lambda recipe=recipe: [recipe.training_step(batches, step) for step in range(STEPS)] for recipe in (every, lazy))
    first, second, times = ratio(*runs, rounds=3)
    yield f"StyleGAN2 {SIZE} px: both penalties always {first / STEPS:.2f} s, lazy {second / STEPS:.2f} s: ratio {times:.2f}"
    first, second, times = ratio(*modulations(), rounds=5)
    yield f"modulated convolution, forward and back: in groups {first:.3f} s, ours {second:.3f} s: ratio {times:.2f}"


def recipe_of(**train):
    """A recipe at step 0."""
    from types import SimpleNamespace

    from components.core.batch import ViewFacts
    from components.families.stylegan2.networks.stylegan2 import StyleGAN2
    from components.families.stylegan2.recipe import StyleGAN2Recipe
    from components.families.stylegan2.settings import TrainSettings

    torch.manual_seed(0)
    view = ViewFacts("v", SIZE, 3, {}, (0.0,) * 3, (0.5,) * 3, {"train": 1}, "")
    settings = TrainSettings(batch_size=BATCH, **train)
    networks = StyleGAN2(image_size=SIZE, channels=3, num_classes=0, **MODEL)
    networks.to(memory_format=torch.channels_last).train()
    block = SimpleNamespace(**{name: getattr(settings, name) for name in TrainSettings.model_fields}, seed=0, steps=1000)
    return StyleGAN2Recipe(SimpleNamespace(train=block), view, networks)


def modulations():
    """Forward and backward of one layer: in groups, and ours."""
    from components.families.stylegan2.networks.blocks import ModulatedConv2d

    layer = ModulatedConv2d(64, 64, 3, 64, demodulate=True, upsample=False)
    x, style = torch.randn(BATCH, 64, SIZE, SIZE, requires_grad=True), torch.randn(BATCH, 64)

    def in_groups():
        weight = layer.weight[None] * layer.scale * layer.modulation(style)[:, None, :, None, None]
        weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        shape = (1, BATCH * 64, SIZE, SIZE)
        y = F.conv2d(x.reshape(shape), weight.view(BATCH * 64, 64, 3, 3), padding=1, groups=BATCH)
        return y.view(BATCH, 64, SIZE, SIZE)

    assert math.isclose(float((in_groups() - layer(x, style)).abs().max()), 0.0, abs_tol=1e-3)
    return (lambda: in_groups().sum().backward()), (lambda: layer(x, style).sum().backward())
