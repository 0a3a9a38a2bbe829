"""What the families for voices share: batches, labels, and what their exports say."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.core.batch import Batch, Stream, ViewFacts
from components.core.recipe import Exportable, Graph
from components.core.step import draw, gather, processes
from components.translation.interface import domains_of, example

SOUND = "sound"  # column of the source `audio`: its only class is the scale of the pictures


def stream(batch_size: int) -> Stream:
    """Batches with all voices equally often."""
    return Stream(view="main", batch_size=batch_size, sampler="balanced", by="domain")


def shuffled(domain: Tensor, *, seed: int, step: int) -> Tensor:
    """This process's share of the global batch's domains in random order of the pictures, int64 [N]: targets."""
    count = domain.shape[0]
    drawn = draw((count,), seed=seed, step=step, use="target", kind="uniform", device=domain.device)
    first = processes()[0] * count
    return gather(domain)[gather(drawn).argsort(stable=True)[first : first + count]]


def one_hot(domain: Tensor, num_domains: int) -> Tensor:
    """int64 [N] -> float32 [N, K]."""
    return F.one_hot(domain, num_domains).to(torch.float32)


def exportable_of(view: ViewFacts, network: nn.Module) -> Exportable:
    """The export of a network (image, label) -> image. Of a view made of sound the facts say how its pictures are played."""
    domains = domains_of(view)
    facts: dict[str, Any] = {
        "image_size": view.image_size,
        "channels": view.channels,
        "domains": list(domains),
        "style_width": 0,
    }
    facts |= {SOUND: view.classes[SOUND][0]} if len(view.classes.get(SOUND, ())) == 1 else {}

    def inputs(batch: Batch) -> dict[str, Tensor]:
        """Real pictures into every voice in turn."""
        target = torch.arange(batch["image"].shape[0]) % len(domains)
        return {"image": batch["image"], "label": one_hot(target, len(domains))}

    return Exportable(
        graphs={"model": Graph(network, inputs, ("translated",))},
        facts=facts,
        signature=signature(view),
        example=lambda batch: example(batch, 0, len(domains)),
    )


def signature(view: ViewFacts) -> dict[str, Any]:
    """Image, of any shape, and target domain."""
    image = {"dtype": "uint8", "shape": [-1, view.height, view.width, view.channels]}
    inputs = [{"name": "image", **image}, {"name": "domain", "dtype": "int64", "shape": [-1]}]
    return {"inputs": inputs, "outputs": [{"name": "image", **image}], "params": []}
