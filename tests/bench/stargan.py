"""StarGAN's whole schedule, five updates of the discriminator and one of the generator, against the paper's plain sequence.

The plain one computes every term where it stands: fakes with a graph in every update, the penalty by autograd alone, and the
discriminator's gradients in the generator's update too. Same networks, losses, Adam, layout and batch; fp32, one thread.
"""

import copy

import torch
import torch.nn.functional as F

CASES = {  # image_size, channels, batch; the model's options
    "32 px, width 24 and 32": ((32, 1, 16), {"width": 24, "blocks": 3, "discriminator_width": 32}),
    "64 px, width 32": ((64, 3, 8), {"width": 32, "blocks": 6, "discriminator_width": 32}),
}
DOMAINS, SCHEDULE, RATE, BETAS = 4, 5, 1e-4, (0.5, 0.999)


def bench_stargan(ratio):
    """Seconds for the schedule of both, the fastest turn of each; the bar is 1.2."""
    from components.core.runtime import set_threads

    set_threads(1)
    for name, (shape, options) in CASES.items():
        first, second, times = ratio(*_schedules(shape, options), rounds=9, of=min)
        yield f"StarGAN {name}: plain {first:.2f} s, ours {second:.2f} s for 5 + 1 updates: ratio {times:.2f}"


def _schedules(shape, options):
    from types import SimpleNamespace

    from components.core.batch import ViewFacts
    from components.families.stargan.networks import StarGAN
    from components.families.stargan.recipe import StarGANRecipe
    from components.families.stargan.settings import TrainSettings

    size, channels, count = shape
    torch.manual_seed(0)
    plain = StarGAN(image_size=size, channels=channels, num_labels=(DOMAINS,), **options).to(memory_format=torch.channels_last)
    names = tuple("abcd")
    view = ViewFacts("v", size, channels, {"domain": names}, (0.0,) * channels, (0.5,) * channels, {"train": 1}, "")
    train = TrainSettings(batch_size=count, learning_rate=RATE, betas=BETAS).model_dump() | {"seed": 0}
    recipe = StarGANRecipe(SimpleNamespace(train=SimpleNamespace(**train)), view, (names,), copy.deepcopy(plain))
    image = torch.rand(count, channels, size, size).mul(2).sub(1).contiguous(memory_format=torch.channels_last)
    batch = {"train": {"image": image, "domain": torch.arange(count) % DOMAINS}}
    update = _plain_update(plain)
    return (
        lambda: [update(**batch["train"], generating=step == SCHEDULE - 1) for step in range(SCHEDULE)],
        lambda: [recipe.training_step(batch, step) for step in range(SCHEDULE)],
    )


def _plain_update(networks):
    """The paper's two updates, one after another."""
    G, D = networks.generator, networks.discriminator
    optimizers = [torch.optim.Adam(network.parameters(), lr=RATE, betas=BETAS, fused=True) for network in (G, D)]

    def apply(loss, optimizer):
        for each in optimizers:
            each.zero_grad()
        loss.backward()
        optimizer.step()

    def update(image, domain, generating):
        target = domain[torch.randperm(len(domain))]
        label, own = F.one_hot(target, DOMAINS).float(), F.one_hot(domain, DOMAINS).float()
        real_score, real_logits = D(image)
        fake = G(image, label).detach()
        fake_score, _ = D(fake)
        share = torch.rand(len(image), 1, 1, 1)
        between = (share * image + (1 - share) * fake).requires_grad_()
        (gradient,) = torch.autograd.grad(D(between)[0].sum(), between, create_graph=True)
        penalty = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
        loss = fake_score.mean() - real_score.mean() + 10 * penalty + F.cross_entropy(real_logits, domain)
        apply(loss, optimizers[1])
        if generating:
            fake = G(image, label)
            score, logits = D(fake)
            back = G(fake, own)
            apply(F.cross_entropy(logits, target) - score.mean() + 10 * (image - back).abs().mean(), optimizers[0])

    return update
