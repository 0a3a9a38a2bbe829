"""How much the Fréchet distances of the table differ by chance: 20 steps of two samplers with other seeds, and real images.

python experiments/diffusion-mnist/noise.py [folder of the study]
"""

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from components.core.batch import to_pixels  # noqa: E402
from components.metrics.samples.distances import frechet_distance  # noqa: E402
from components.serving.loading import load_served  # noqa: E402
from components.stages.views.view import open_view  # noqa: E402

IMAGES, SEEDS, SAMPLERS = 1000, 3, ("dpm_solver_2m", "ddim", "ancestral")


def main() -> None:
    outputs = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent) / "outputs"
    model, judge = (load_served(outputs / "export" / run) for run in ("guided", "judge"))
    batches = list(open_view(outputs / "views" / "mnist").batches("test", 1000))
    label = np.concatenate([batch["label"].numpy() for batch in batches])
    real = np.concatenate([judge.scores(to_pixels(batch["image"]))["features"] for batch in batches])
    for seed in range(SEEDS):
        chosen = np.random.default_rng(seed).permutation(len(real))
        asked, rest = chosen[:IMAGES], chosen[IMAGES:]
        figures = {"real images": frechet_distance(real[rest], real[asked])}
        for sampler in SAMPLERS:
            images = model.sample({"label": label[asked]}, sampler=sampler, steps=20, seed=seed)
            figures[sampler] = frechet_distance(real, judge.scores(images)["features"])
        print(f"seed {seed}:", {name: round(value, 3) for name, value in figures.items()}, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
