"""MUNIT's training step against the paper's sequence without sharing, on the same weights, batch and styles; one thread, fp32.

``plain_step`` is that sequence: the discriminators' half computes the translations with their graph and detaches them, the
auto-encoders' half computes all of it again and makes gradients for the discriminators' weights, too; real and made images, and
a decoder's two tasks, go through one after the other. The bar is 1.2.

Memory is that of the tensors which autograd holds, each storage once, weights left out: while the discriminators are updated,
and the most at any time of a step. The bar is 1 GB less for the discriminators' half at 256 px, batch 1, published widths.
"""

from functools import partial

import torch

ROUNDS = 5  # the fastest turn counts, of both
SMALL = {"width": 16, "downsamplings": 2, "blocks": 2, "mlp_width": 64}


def make_recipe(size, channels, batch_size, model, discriminator, **train):
    """A recipe for two domains."""
    from components.core.batch import ViewFacts
    from components.core.config.strict import parse
    from components.core.settings import RunSettings, parse_model
    from components.families.munit.recipe import MUNITRecipe, TrainSettings
    from components.stages.train.settings import LoopSettings

    class Train(LoopSettings, TrainSettings):
        pass

    classes = {"domain": ("first", "second")}
    view = ViewFacts("view", size, channels, classes, (0.0,) * channels, (1.0,) * channels, {"train": 2}, "")
    block = {"seed": 0, "threads": 1, "precision": "fp32", "steps": 10, "batch_size": batch_size}
    train = parse(Train, block | {"discriminator": discriminator} | train, "train")
    settings = RunSettings("bench", "munit", "view", parse_model({"name": "munit", **model}, "model"), train, None, None)
    torch.manual_seed(0)
    return MUNITRecipe.build(settings, {"main": view}, {}).to(memory_format=torch.channels_last)


def make_batch(size, channels, batch_size):
    """Noise, of both domains in turns."""
    image = 2 * torch.rand((batch_size, size, size, channels), generator=torch.Generator().manual_seed(0)) - 1
    return {"train": {"image": image.permute(0, 3, 1, 2), "domain": torch.arange(batch_size) % 2}}


def plain_step(recipe, batches, step):
    """The paper's two updates, each from the beginning. Returns the terms as ``training_step`` does."""
    (x_a, x_b), (styles_a, styles_b) = images_and_styles(recipe, batches, step)
    discriminator = plain_discriminator_step(recipe, x_a, x_b, styles_a, styles_b)
    return {"discriminator": discriminator, **plain_autoencoder_step(recipe, x_a, x_b, styles_a, styles_b)}


def images_and_styles(recipe, batches, step):
    image, domain = batches["train"]["image"], batches["train"]["domain"]
    images = [image[domain == k] for k in (0, 1)]
    return images, [recipe.random_style(images[k], step, k) for k in (0, 1)]


def plain_discriminator_step(recipe, x_a, x_b, s_a, s_b):
    from components.core.step import optimize

    (gen_a, gen_b), (dis_a, dis_b) = recipe.autoencoders, recipe.discriminators
    (c_a, _), (c_b, _) = gen_a.encode(x_a), gen_b.encode(x_b)
    x_ba, x_ab = gen_a.decode(c_b, s_a), gen_b.decode(c_a, s_b)
    loss = 0.0
    for dis, real, fake in ((dis_a, x_a, x_ba), (dis_b, x_b, x_ab)):
        for scores_real, scores_fake in zip(dis(real), dis(fake.detach()), strict=True):
            loss = loss + (scores_real - 1).square().mean() + scores_fake.square().mean()
    optimize({"discriminator": loss}, recipe.optimizers["discriminators"])
    return loss


def plain_autoencoder_step(recipe, x_a, x_b, s_a, s_b):
    from components.core.step import optimize

    (gen_a, gen_b), (dis_a, dis_b), weights = recipe.autoencoders, recipe.discriminators, recipe.settings.weights
    (c_a, own_a), (c_b, own_b) = gen_a.encode(x_a), gen_b.encode(x_b)
    rebuilt_a, rebuilt_b = gen_a.decode(c_a, own_a), gen_b.decode(c_b, own_b)
    x_ba, x_ab = gen_a.decode(c_b, s_a), gen_b.decode(c_a, s_b)
    (c_b_found, s_a_found), (c_a_found, s_b_found) = gen_a.encode(x_ba), gen_b.encode(x_ab)
    verdicts = [*dis_a(x_ba), *dis_b(x_ab)]
    terms = {
        "adversarial": sum((scores - 1).square().mean() for scores in verdicts),
        "image": (rebuilt_a - x_a).abs().mean() + (rebuilt_b - x_b).abs().mean(),
        "content": (c_a_found - c_a).abs().mean() + (c_b_found - c_b).abs().mean(),
        "style": (s_a_found - s_a).abs().mean() + (s_b_found - s_b).abs().mean(),
    }
    if weights.cycle:
        back_a, back_b = gen_a.decode(c_a_found, own_a), gen_b.decode(c_b_found, own_b)
        terms["cycle"] = (back_a - x_a).abs().mean() + (back_b - x_b).abs().mean()
    scales = {"adversarial": 1.0} | weights.model_dump()
    optimize({name: scales[name] * term for name, term in terms.items()}, recipe.optimizers["autoencoders"])
    return terms


class Held:
    """Bytes held by autograd: storages of saved tensors, but for the weights'. ``notes``: some moments; ``most``: ever."""

    def __init__(self, recipe):
        self.weights = {parameter.untyped_storage().data_ptr() for parameter in recipe.parameters()}
        self.counts, self.sizes, self.most, self.notes = {}, {}, 0, []

    def pack(self, tensor):
        storage = tensor.untyped_storage()
        key = storage.data_ptr()
        if key in self.weights:
            return tensor
        self.counts[key] = self.counts.get(key, 0) + 1
        self.sizes[key] = storage.nbytes()
        self.most = max(self.most, self.now())
        return Saved(self, key, tensor.detach())  # its own node would hold it else, and it its node

    @staticmethod
    def unpack(saved):
        return saved.tensor if isinstance(saved, Saved) else saved

    def now(self):
        return sum(self.sizes.values())

    def release(self, key):
        self.counts[key] -= 1
        if self.counts[key] == 0:
            del self.counts[key], self.sizes[key]


class Saved:
    """A tensor that is held for backward, until autograd lets go of it."""

    def __init__(self, held, key, tensor):
        self.held, self.key, self.tensor = held, key, tensor

    def __del__(self):
        self.held.release(self.key)


def held_by(recipe, step, batches):
    """(bytes when the discriminators' backward pass begins, the most of the whole step)."""
    held = Held(recipe)
    optimizer, zero_grad = recipe.optimizers["discriminators"], recipe.optimizers["discriminators"].zero_grad

    def noting(*args, **kwargs):  # optimize calls it first of all, with both graphs whole
        held.notes.append(held.now())
        zero_grad(*args, **kwargs)

    optimizer.zero_grad = noting
    try:
        with torch.autograd.graph.saved_tensors_hooks(held.pack, held.unpack):
            step(batches, 0)
    finally:
        del optimizer.zero_grad
    return held.notes[0], held.most


def bench_munit(ratio):
    """Time of a step at 32 and 64 px; memory at 256 px."""
    from components.core.runtime import set_threads

    set_threads(1)
    for size, batch_size, model, width in ((32, 16, SMALL, 16), (64, 4, SMALL, 16), (64, 2, {}, 64)):
        for share in (True, False):
            plain, ours = (make_recipe(size, 3, batch_size, model, {"width": width}, share_forward=share) for _ in range(2))
            batches = make_batch(size, 3, batch_size)
            theirs, own = partial(plain_step, plain, batches, 0), partial(ours.training_step, batches, 0)
            first, second, times = ratio(theirs, own, ROUNDS, min)
            told = f"{size} px, batch {batch_size // 2}, width {width}, share_forward {share}"
            yield f"MUNIT's step, {told}: plain {first:.2f} s, ours {second:.2f} s: ratio {times:.2f}"
    batches = make_batch(256, 3, 2)
    for name, share in (("plain", True), ("share_forward True", True), ("share_forward False", False)):
        recipe = make_recipe(256, 3, 2, {}, {}, share_forward=share)
        half, whole = held_by(recipe, partial(plain_step, recipe) if name == "plain" else recipe.training_step, batches)
        told = f"discriminators' half {half / 1e6:.0f} MB, most of a step {whole / 1e6:.0f} MB"
        yield f"MUNIT's memory at 256 px, batch 1, {name}: {told}"
