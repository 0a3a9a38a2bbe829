"""What RandAugment, mixing and erasing add to the input pipeline: batches from the loader, on the device as float32."""

import tempfile
from pathlib import Path

import numpy as np
import torch

COUNT, BATCH = 256, 64
CASES = {  # size in a batch, stored size, what a recipe of that size augments with besides
    "32 px, crop and flip": (32, 40, [{"RandomCrop": {"height": 32, "width": 32}}, {"HorizontalFlip": {"p": 0.5}}]),
    "224 px, crop and flip": (224, 256, [{"RandomResizedCrop": {"scale": [0.08, 1.0]}}, {"HorizontalFlip": {"p": 0.5}}]),
}


def bench_recipes(ratio):
    """Images a second without and with each part, on one thread; the bar is 15 % more time (a ratio of 0.87)."""
    torch.set_num_threads(1)
    for name, (size, stored, policy) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            plain = _pipeline(Path(folder) / "plain", size, stored, policy)
            parts = {
                "RandAugment": _pipeline(Path(folder) / "strong", size, stored, [*policy, {"RandAugment": {}}]),
                "RandAugment for half": _pipeline(Path(folder) / "half", size, stored, [*policy, {"RandAugment": {"p": 0.5}}]),
                "mixup and CutMix": _pipeline(Path(folder) / "mixed", size, stored, policy, mixing={}),
                "random erasing": _pipeline(Path(folder) / "erased", size, stored, policy, random_erasing={}),
            }
            for part, run in parts.items():
                first, second, times = ratio(plain, run, rounds=3)
                more = f"{second / first - 1:+.1%} time"
                yield f"{name}; {part}: {COUNT / first:,.0f} and {COUNT / second:,.0f} images/s: ratio {times:.2f} ({more})"


def _pipeline(folder, size, stored, policy, **train):
    """A function that draws, augments, moves and mixes ``COUNT`` images."""
    import json

    from workbench import run_settings, write_view

    from components.core.batch import Stream
    from components.core.config.strict import parse
    from components.families.classification.recipe import Classification
    from components.stages.augment.policy.policies import ViewSettings
    from components.stages.augment.policy.validation import validate_policy
    from components.stages.views.loader import to_device, training_batches
    from components.stages.views.view import open_view

    block = {"dataset": "d", "image_size": size, "stored_size": stored, "channels": 3, "augment": policy}
    form = validate_policy("bench", parse(ViewSettings, block, "views.bench"))
    images = np.random.default_rng(0).integers(0, 256, size=(COUNT, stored, stored, 3), dtype=np.uint8)
    view = write_view(folder, images=images, labels=np.arange(COUNT) % 10, classes=tuple("0123456789"), policy=form)
    facts = json.loads((view / "view.json").read_text()) | {"image_size": size}
    (view / "view.json").write_text(json.dumps(facts))
    view = open_view(view)
    settings = run_settings("pp_lcnet", {"scale": 0.25}, batch_size=BATCH, **train)
    recipe = Classification.build(settings, {"main": view.facts}, {})

    def run():
        stream, options = (
            Stream("main", BATCH),
            {"role": "train", "seed": 0, "start_step": 0, "steps": COUNT // BATCH, "workers": 0},
        )
        for step, batch in enumerate(training_batches(view, stream, **options)):
            recipe.augmented(to_device(batch, torch.device("cpu")), step)

    return run
