"""A training step of CLIP against open_clip's where it is installed, else against the same towers of torch's own layers.

Both sides: 32 px, patches of 4, 4 blocks of 128 for the image, 3 blocks of 128 for 32 tokens; forward, loss, backward, AdamW.
The last line has our step with half of the patches left out against our own with all.
"""

from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import nn

BATCH, SIZE, PATCH, WIDTH, HEADS, CONTEXT, TOKENS = 64, 32, 4, 128, 2, 32, 256
DEPTH = {"image": 4, "text": 3}


def bench_clip(ratio):
    """Seconds of a step of both; the bar is 1.0."""
    torch.set_num_threads(1)
    name, theirs = ("open_clip", open_clip_step()) if find_spec("open_clip") else ("torch's own layers", torch_step())
    ours = our_step()
    first, second, times = ratio(theirs, ours, rounds=7)
    yield f"step of {BATCH} pairs: {name} {first:.3f} s, ours {second:.3f} s: ratio {times:.2f}"
    first, second, times = ratio(ours, our_step(patch_dropout=0.5), rounds=7)
    yield f"half of the patches dropped: {first:.3f} s, then {second:.3f} s: ratio {times:.2f}"


def batch():
    draws = torch.Generator().manual_seed(0)
    image = torch.randn(BATCH, 3, SIZE, SIZE, generator=draws).to(memory_format=torch.channels_last)
    return image, torch.randint(1, TOKENS, (BATCH, CONTEXT), generator=draws)


def our_step(**train):
    """The recipe's own step, its search for shared captions included."""
    from components.contrastive.settings import ExportSettings
    from components.core.batch import ViewFacts
    from components.core.config.strict import parse
    from components.core.settings import RunSettings, parse_model
    from components.families.clip.recipe import CLIPRecipe
    from components.families.clip.settings import TrainSettings
    from components.stages.train.settings import LoopSettings

    class Train(TrainSettings, LoopSettings):
        pass

    sizes = {"patch": PATCH, "width": WIDTH, "depth": DEPTH["image"], "heads": HEADS, "embed_dim": WIDTH}
    sizes |= {"text_width": WIDTH, "text_depth": DEPTH["text"], "text_heads": HEADS}
    model = parse_model({"name": "clip", **sizes}, "model")
    block = parse(Train, {"batch_size": BATCH, "steps": 1, **train}, "train")
    facts = ViewFacts("v", SIZE, 3, {}, (0.0,) * 3, (1.0,) * 3, {"train": BATCH}, "", context_length=CONTEXT)
    recipe = CLIPRecipe.build(RunSettings("r", "clip", "v", model, block, ExportSettings(), None), {"main": facts}, {})
    recipe.to(memory_format=torch.channels_last).train()
    image, tokens = batch()
    return lambda: recipe.training_step({"train": {"image": image, "tokens": tokens}}, 0)


def stepping(network, embed):
    """A step of ``network``, whose ``embed`` gives unit rows of images and texts and the scale."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2, fused=True)
    image, tokens = batch()
    target = torch.arange(BATCH)

    def step():
        first, second, scale = embed(network, image, tokens)
        logits = scale * first @ second.T
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def open_clip_step():
    from open_clip.model import CLIP

    image = {"layers": DEPTH["image"], "width": WIDTH, "head_width": WIDTH // HEADS, "patch_size": PATCH, "image_size": SIZE}
    text = {"context_length": CONTEXT, "vocab_size": TOKENS, "width": WIDTH, "heads": HEADS, "layers": DEPTH["text"]}
    network = CLIP(WIDTH, image, text, quick_gelu=True).to(memory_format=torch.channels_last).train()
    return stepping(network, lambda network, image, tokens: network(image, tokens)[:3])


class TorchTowers(nn.Module):
    """The same sizes from torch's own encoder layers."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.positions = nn.Parameter(torch.zeros(1, (SIZE // PATCH) ** 2, WIDTH))
        self.words = nn.Embedding(TOKENS, WIDTH)
        self.image, self.text = (nn.TransformerEncoder(self.layer(), DEPTH[name]) for name in DEPTH)
        self.projections = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in DEPTH)
        self.scale = nn.Parameter(torch.tensor(2.6))
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CONTEXT))

    @staticmethod
    def layer():
        options = {"dropout": 0.0, "activation": "gelu", "norm_first": True, "batch_first": True}
        return nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, **options)

    def forward(self, image, tokens):
        first = self.image(self.patches(image).flatten(2).transpose(1, 2) + self.positions)[:, 0]
        second = self.text(self.words(tokens), mask=self.mask, is_causal=True)[:, -1]
        rows = (F.normalize(layer(x), dim=1) for layer, x in zip(self.projections, (first, second), strict=True))
        return (*rows, self.scale.exp())


def torch_step():
    return stepping(TorchTowers().train(), lambda network, image, tokens: network(image, tokens))
