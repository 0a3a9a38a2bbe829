"""StarGAN-VC's losses against their equations, written out here."""

import pytest
import torch
import torch.nn.functional as F
from families.tiny import Tiny

from components.translation.voices import shuffled

STEP = 0


@pytest.fixture
def tiny(tmp_path):
    torch.set_num_threads(1)
    return Tiny("stargan_vc", tmp_path)


@pytest.mark.parametrize("adversarial", ["wasserstein", "logistic"])
def test_losses_are_the_paper_s(tiny, adversarial):
    recipe = tiny.build(adversarial=adversarial, cycle=2.0, identity=3.0, classification=4.0, gradient_penalty=0.0)
    batch = tiny.batch(6)
    image, own = batch["image"], batch["domain"]
    target = torch.tensor([1, 2, 0, 0, 1, 2])
    fake = recipe.generator(image, recipe.label(target))
    real, made = recipe.discriminator(image, recipe.label(own)), recipe.discriminator(fake, recipe.label(target))
    critic = recipe.discriminator_losses(image, own, fake.detach(), target, STEP)
    if adversarial == "logistic":  # eq. 1 and 2
        expected = -F.logsigmoid(real).mean() - torch.log(1 - torch.sigmoid(made)).mean()
        generator = -F.logsigmoid(made).mean()
    else:
        expected, generator = made.mean() - real.mean(), -made.mean()
    torch.testing.assert_close(critic["discriminator"], expected)
    assert set(critic) == {"discriminator"}, "no penalty without a weight"
    losses = recipe.generator_losses(image, own, fake, target)
    torch.testing.assert_close(losses["adversarial"], generator)
    likelihood = recipe.classifier(fake).log_softmax(1)[torch.arange(6), target]
    torch.testing.assert_close(losses["fake_classification"], -4 * likelihood.mean())  # eq. 4
    back = recipe.generator(fake, recipe.label(own))
    torch.testing.assert_close(losses["cycle"], 2 * (image - back).abs().mean())  # eq. 5
    same = recipe.generator(image, recipe.label(own))
    torch.testing.assert_close(losses["identity"], 3 * (image - same).abs().mean())  # eq. 6


class LinearCritic(torch.nn.Module):
    """Frames of scores, each the sum of the picture times 0.1: the summed critic has a gradient of 0.1 per frame and pixel."""

    def forward(self, image, label):
        return torch.stack([0.1 * image.flatten(1).sum(1)] * 4, dim=1)


def test_the_penalty_is_of_the_critic_summed_over_time(tiny):
    recipe = tiny.build(gradient_penalty=3.0)
    recipe.discriminator = LinearCritic()
    batch = tiny.batch(6)
    image, own = batch["image"], batch["domain"]
    losses = recipe.discriminator_losses(image, own, torch.zeros_like(image), own, STEP)
    norm = 0.4 * image[0].numel() ** 0.5
    assert losses["penalty"].item() == pytest.approx(3 * (norm - 1) ** 2, rel=1e-5)


def test_targets_are_the_voices_of_the_batch_in_another_order_each_step():
    own = torch.arange(12) % 3
    orders = [shuffled(own, seed=0, step=step) for step in range(4)]
    assert all(torch.equal(order.sort().values, own.sort().values) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 4


def test_an_update_of_the_generator_leaves_the_others_as_they_are(tiny):
    recipe = tiny.build(critic_steps=2)
    before = {name: [p.clone() for p in network.parameters()] for name, network in recipe.named_children()}

    def changed(name):
        return any(not torch.equal(old, new) for old, new in zip(before[name], getattr(recipe, name).parameters(), strict=True))

    losses = recipe.training_step({"train": tiny.batch(6)}, 0)
    assert [changed(name) for name in ("generator", "discriminator", "classifier")] == [False, True, True]
    assert set(losses) == {"discriminator", "penalty", "classification"}
    assert "cycle" in recipe.training_step({"train": tiny.batch(6)}, 1)
    assert changed("generator")


def test_the_export_says_how_its_pictures_are_played(tiny):
    recipe = tiny.build()
    assert "sound" not in recipe.exportable().facts
    recipe.view.classes["sound"] = ("rate=8000",)
    assert recipe.exportable().facts["sound"] == "rate=8000"


def test_a_batch_without_every_voice_and_another_network_are_refused(tiny):
    with pytest.raises(ValueError, match=r"train\.batch_size: 4 is not allowed: a multiple of the 3 domains is needed"):
        tiny.build(batch_size=4)
    settings = tiny.settings(critic_steps=9)
    with pytest.raises(ValueError, match=r"train\.steps: 4 is not allowed: the generator is first updated at step 9"):
        tiny.build().check(settings, None, {})
