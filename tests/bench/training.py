"""One training step of the loop, against the same model in a bare torch loop, fp32 and contiguous."""

import numpy as np
import torch
import torch.nn.functional as F

CASES = {
    "vit": ({"patch": 4, "width": 192, "depth": 6, "heads": 3}, 64),
    "resnet18": ({}, 32),
    "pp_lcnet": ({"scale": 0.5}, 64),
}
STEPS = 3


def bench_training(ratio):
    """Milliseconds a step of both, ours in the precision that `auto` takes; the bar is 1, and 2 for ResNet-18 with AMX."""
    from components.core.runtime import multiplies_bf16, set_threads

    set_threads(1)
    native = multiplies_bf16(torch.device("cpu"))
    for name, (options, batch) in CASES.items():
        first, second, times = ratio(*_loops(name, options, batch), rounds=7)
        bare, loop = first / STEPS * 1e3, second / STEPS * 1e3
        yield f"{name} batch {batch}: bare {bare:.0f} ms, ours {loop:.0f} ms: ratio {times:.2f} (native bf16: {native})"


def _loops(name, options, batch):
    import copy

    from workbench import run_settings

    from components.core.batch import ViewFacts
    from components.core.config.strict import resolve
    from components.core.runtime import resolve_precision
    from components.families.classification.recipe import Classification
    from components.networks import MODELS
    from components.stages.train.state import TrainingState
    from components.stages.views.loader import to_device

    settings = run_settings(name, options, precision="auto", steps=1000, batch_size=batch)
    facts = ViewFacts("v", 32, 3, {"label": tuple("0123456789")}, (0.0,) * 3, (0.5,) * 3, {"train": 1}, "")
    network = resolve(MODELS, name, "")(image_size=32, channels=3, num_classes=10, **options)
    recipe = Classification(settings, facts, copy.deepcopy(network))
    device = torch.device("cpu")
    precision = resolve_precision("auto", device, recipe.prefers_fp32)
    recipe.to(memory_format=torch.channels_last).train()
    state = TrainingState(recipe, settings.train, device)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, size=(batch, 32, 32, 3), dtype=np.uint8))
    labels = torch.arange(batch) % 10
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    network.train()

    def bare():
        for _ in range(STEPS):
            image = pixels.permute(0, 3, 1, 2).contiguous().float().div(127.5).sub(1).div(0.5)
            optimizer.zero_grad()
            F.cross_entropy(network(image)[0], labels).backward()
            optimizer.step()

    def ours():
        for step in range(STEPS):
            state.update({"train": to_device({"image": pixels, "label": labels}, device)}, step, precision)

    return bare, ours
