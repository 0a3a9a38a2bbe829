"""A full iteration of StarGAN v2, two updates of the discriminator and two of the generator, against the plain sequence.

The plain one makes every image that an update needs, with a graph, and takes gradients for whatever it went through: the
paper's equations one after another, without sharing. Same networks, losses, Adam, layout and batch; fp32, one thread.
"""

import copy

import torch
import torch.nn.functional as F

CASES = {  # image_size, channels, batch, domains; the model's options
    "32 px, width 16": ((32, 1, 8, 4), {"width": 16, "max_width": 64, "mapping_width": 64}),
    "64 px, width 32": ((64, 3, 8, 2), {"width": 32, "max_width": 128, "mapping_width": 128}),
}
RATE, SLOW_RATE, BETAS, DECAY, R1 = 1e-4, 1e-6, (0.0, 0.99), 1e-4, 1.0


def bench_stargan_v2(ratio):
    """Seconds an iteration of both; the bar is 1.2."""
    from components.core.runtime import set_threads

    set_threads(1)
    for name, (shape, options) in CASES.items():
        for every in (1, 16):
            steps = max(1, every // 2)  # two updates each: one of them has R1
            first, second, times = ratio(*_iterations(shape, options, every, steps), rounds=5)
            each = f"plain (R1 every 1) {first / steps:.2f} s, ours {second / steps:.2f} s an iteration"
            yield f"StarGAN v2 {name}, R1 every {every}: {each}: ratio {times:.2f}"


def _iterations(shape, options, every, steps):
    """``steps`` iterations of both; R1 is in every update of the plain one's discriminator, in one of ``every`` of ours."""
    from components.families.stargan_v2.networks import StarGANv2

    size, channels, count, domains = shape
    torch.manual_seed(0)
    networks = StarGANv2(image_size=size, channels=channels, num_domains=domains, **options)
    networks.to(memory_format=torch.channels_last).train()
    recipe = recipe_of(copy.deepcopy(networks), size, channels, domains, batch_size=count, r1_every=every)
    image = torch.rand(3 * count, channels, size, size).mul(2).sub(1).contiguous(memory_format=torch.channels_last)
    domain = torch.arange(3 * count) % domains
    batches = {
        "train": {"image": image[:count], "domain": domain[:count]},
        "reference": {"image": image[count:], "domain": domain[count:]},
    }
    plain, latents = Plain(networks), torch.randn(2, count, 16)
    images, references = (image[:count], domain[:count]), image[count:].chunk(2)
    return (
        lambda: [plain.iteration(images, domain[:count], references, latents, spread=1.0) for _ in range(steps)],
        lambda: [recipe.training_step(batches, step) for step in range(steps)],
    )


def recipe_of(networks, size, channels, domains, **train):
    """The recipe on given networks, fit to take steps and no more."""
    from types import SimpleNamespace

    from components.core.batch import ViewFacts
    from components.families.stargan_v2.recipe import StarGANv2Recipe
    from components.families.stargan_v2.settings import TrainSettings

    names = tuple("abcdefgh"[:domains])
    view = ViewFacts("v", size, channels, {"domain": names}, (0.0,) * channels, (0.5,) * channels, {"train": 1}, "")
    settings = TrainSettings(**train).model_dump() | {"seed": 0, "steps": 1000}
    return StarGANv2Recipe(SimpleNamespace(train=SimpleNamespace(**settings)), view, networks)


class Plain:
    """The networks, an Adam for each, and the paper's losses."""

    def __init__(self, networks):
        self.networks, self.parts = networks, dict(networks.named_children())
        rates = {"mapping_network": SLOW_RATE}
        self.optimizers = {
            name: torch.optim.Adam(part.parameters(), rates.get(name, RATE), BETAS, weight_decay=DECAY, fused=True)
            for name, part in self.parts.items()
        }

    def G(self, image, style):
        return self.parts["generator"](image, style)

    def F(self, latent, domain):
        return self.parts["mapping_network"](latent)[torch.arange(len(domain)), domain]

    def E(self, image, domain):
        return self.parts["style_encoder"](image)[torch.arange(len(domain)), domain]

    def D(self, image, domain):
        return self.parts["discriminator"](image).gather(1, domain[:, None])[:, 0]

    def update(self, loss, *names):
        self.networks.zero_grad()
        loss.backward()
        for name in names:
            self.optimizers[name].step()

    def iteration(self, images, target, references, latents, spread):
        """The four updates of ``images`` x of domains y into the domains ``target``; ``spread``: the diversity's weight."""
        x, (reference, other_reference), (latent, other_latent) = images[0], references, latents
        self.update(self.discriminator_loss(images, target, self.G(x, self.F(latent, target))), "discriminator")
        self.update(self.discriminator_loss(images, target, self.G(x, self.E(reference, target))), "discriminator")
        styles = self.F(latent, target), self.F(other_latent, target)
        loss = self.generator_loss(images, target, styles, spread)
        self.update(loss, "generator", "mapping_network", "style_encoder")
        styles = self.E(reference, target), self.E(other_reference, target)
        self.update(self.generator_loss(images, target, styles, spread), "generator")

    def discriminator_loss(self, images, target, made):
        x, y = images[0].clone().requires_grad_(), images[1]
        real = self.D(x, y)
        (gradient,) = torch.autograd.grad(real.sum(), x, create_graph=True)
        penalty = gradient.square().sum((1, 2, 3)).mean()
        return -F.logsigmoid(real).mean() - F.logsigmoid(-self.D(made.detach(), target)).mean() + R1 / 2 * penalty

    def generator_loss(self, images, target, styles, spread):
        (x, y), (style, other_style) = images, styles
        made, other = self.G(x, style), self.G(x, other_style).detach()
        fooling = -F.logsigmoid(self.D(made, target)).mean()
        found = F.l1_loss(self.E(made, target), style)
        cycle = F.l1_loss(self.G(made, self.E(x, y)), x)
        return fooling + found - spread * F.l1_loss(made, other) + cycle
