"""A training step of DETR-R50 at 256 px against the authors' modules, and the matching's share of our step.

``DETR_REFERENCE`` names a clone of github.com/facebookresearch/detr, which needs torchvision; without it our step is timed
alone. Both sides: 4 pictures, 100 queries, 91 classes, 10 boxes a picture; forward, matching of all six layers, loss, backward,
gradient clipping, AdamW.
"""

import os
import sys
import time
from statistics import median

import torch

BATCH, SIZE, CLASSES, QUERIES, BOXES = 4, 256, 91, 100, 10
ROUNDS = 5


def bench_detr(ratio):
    """Seconds of a step of both, the bar is 1.0; the matching's share, the bar is 5 %."""
    from components.core.runtime import set_threads

    set_threads(1)
    ours, seconds = our_step()
    if reference := os.environ.get("DETR_REFERENCE"):
        first, second, times = ratio(reference_step(reference), ours, rounds=ROUNDS)
        yield f"step of {BATCH} pictures of {SIZE} px: the authors' {first:.2f} s, ours {second:.2f} s: ratio {times:.2f}"
    else:
        starts = [(time.perf_counter(), ours(), time.perf_counter()) for _ in range(ROUNDS + 1)][1:]
        second = median(end - start for start, _, end in starts)
        yield f"step of {BATCH} pictures of {SIZE} px: ours {second:.2f} s; the authors' needs DETR_REFERENCE"
    own = median(seconds[1:])
    yield f"matching of six layers: {1000 * own:.1f} ms, {own / second:.2%} of our step"


def pictures():
    """(image, boxes, labels): the same for both sides."""
    draws = torch.Generator().manual_seed(0)
    image = torch.rand(BATCH, 3, SIZE, SIZE, generator=draws) * 2 - 1
    centre, sides = (torch.rand(BATCH, BOXES, 2, generator=draws) * 0.3 + low for low in (0.35, 0.1))
    return image, torch.cat([centre, sides], -1), torch.randint(0, CLASSES, (BATCH, BOXES), generator=draws)


def our_step():
    """(the recipe's own training step, seconds that each of its matchings took)."""
    from components.core.batch import ViewFacts
    from components.core.config.strict import parse
    from components.core.settings import RunSettings, parse_model
    from components.families.detr import losses
    from components.families.detr.recipe import DETRRecipe
    from components.families.detr.settings import ExportSettings, TrainSettings
    from components.stages.train.settings import LoopSettings

    class Train(TrainSettings, LoopSettings):
        pass

    torch.manual_seed(0)
    image, boxes, labels = pictures()
    model = parse_model({"name": "detr", "num_queries": QUERIES}, "model")
    block = parse(Train, {"batch_size": BATCH, "steps": 1}, "train")
    names = {"box_label": tuple(map(str, range(CLASSES)))}
    facts = ViewFacts("v", SIZE, 3, names, (0.0,) * 3, (1.0,) * 3, {"train": BATCH}, "", max_boxes=BOXES)
    recipe = DETRRecipe.build(RunSettings("r", "detr", "v", model, block, ExportSettings(), None), {"main": facts}, {})
    recipe.to(memory_format=torch.channels_last).train()
    batch = {"image": image.contiguous(memory_format=torch.channels_last), "boxes": boxes, "box_label": labels}
    batch["box_mask"] = torch.ones(BATCH, BOXES, dtype=torch.bool)
    seconds = []

    def timed(*arguments, match=losses.match):
        start = time.perf_counter()
        queries = match(*arguments)
        seconds.append(time.perf_counter() - start)
        return queries

    losses.match = timed
    return (lambda: recipe.training_step({"train": batch}, 0)), seconds


def reference_step(folder):
    """The authors' own modules, criterion and settings (main.py, engine.py), from fresh weights."""
    torch.nn.modules.linear._LinearWithBias = torch.nn.Linear  # a name of an earlier torch
    sys.path.insert(0, folder)
    from models.backbone import Backbone, Joiner
    from models.detr import DETR, SetCriterion
    from models.matcher import HungarianMatcher
    from models.position_encoding import PositionEmbeddingSine
    from models.transformer import Transformer
    from util.misc import NestedTensor

    sys.modules["models.backbone"].is_main_process = lambda: False  # no download of the backbone's weights
    torch.manual_seed(0)
    backbone = Joiner(Backbone("resnet50", True, False, False), PositionEmbeddingSine(128, normalize=True))
    backbone.num_channels = 2048
    transformer = Transformer(256, 8, 6, 6, 2048, 0.1, return_intermediate_dec=True)
    network = DETR(backbone, transformer, CLASSES, QUERIES, aux_loss=True).to(memory_format=torch.channels_last).train()
    weights = {"loss_ce": 1, "loss_bbox": 5, "loss_giou": 2}
    weights |= {f"{name}_{layer}": weight for layer in range(5) for name, weight in weights.items()}
    criterion = SetCriterion(CLASSES, HungarianMatcher(1, 5, 2), weights, 0.1, ["labels", "boxes", "cardinality"])
    own = [p for name, p in network.named_parameters() if "backbone" not in name and p.requires_grad]
    rest = [p for name, p in network.named_parameters() if "backbone" in name and p.requires_grad]
    optimizer = torch.optim.AdamW([{"params": own}, {"params": rest, "lr": 1e-5}], lr=1e-4, weight_decay=1e-4)
    image, boxes, labels = pictures()
    image = image.contiguous(memory_format=torch.channels_last)
    targets = [{"boxes": box, "labels": label} for box, label in zip(boxes, labels, strict=True)]
    mask = torch.zeros(BATCH, SIZE, SIZE, dtype=torch.bool)

    def step():
        terms = criterion(network(NestedTensor(image, mask)), targets)
        loss = sum(terms[name] * weight for name, weight in weights.items())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.1)
        optimizer.step()

    return step
