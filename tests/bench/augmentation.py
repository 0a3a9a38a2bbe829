"""Reading a view and augmenting, against plain albumentations over the same array in one process."""

import tempfile
from pathlib import Path

import numpy as np

POLICIES = {
    "light": [{"HorizontalFlip": {"p": 0.5}}, {"Affine": {"translate_percent": [-0.1, 0.1], "p": 1.0}}],
    "medium": [
        {"HorizontalFlip": {"p": 0.5}},
        {"Affine": {"rotate": [-10, 10], "scale": [0.9, 1.1], "p": 1.0}},
        {"RandomBrightnessContrast": {"p": 0.5}},
        {"CoarseDropout": {"p": 0.5}},
    ],
}
COUNT, BATCH = 2048, 64


def bench_augmentation(ratio):
    """Images a second of both; the bar is 0.9."""
    for size in (32, 64):
        for name, policy in POLICIES.items():
            yield f"{size} px {name}: {_compare(ratio, size, policy)}"


def _compare(ratio, size, policy):
    import albumentations
    from workbench import write_view

    from components.core.batch import Stream
    from components.stages.views.loader import training_batches
    from components.stages.views.view import open_view

    transforms = [getattr(albumentations, key)(**values) for step in policy for key, values in step.items()]
    plain = albumentations.Compose(transforms, seed=0)
    images = np.random.default_rng(0).integers(0, 256, size=(COUNT, size, size, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        form = albumentations.to_dict(plain)
        view = open_view(
            write_view(Path(folder) / "view", images=images, labels=np.zeros(COUNT, int), classes=("a",), policy=form)
        )

        def theirs():
            order = np.random.default_rng(0).permutation(COUNT)
            for start in range(0, COUNT, BATCH):
                np.stack([plain(image=images[index])["image"] for index in order[start : start + BATCH]])

        def ours():
            stream = Stream("main", BATCH)
            for _ in training_batches(view, stream, role="train", seed=0, start_step=0, steps=COUNT // BATCH, workers=0):
                pass

        first, second, times = ratio(theirs, ours, rounds=5)
    return f"plain {COUNT / first:,.0f}, ours {COUNT / second:,.0f} images/s: ratio {times:.2f}"
