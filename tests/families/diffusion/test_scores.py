"""Scores of samples: real images are scored once, exports with the old name of the guidance scale are read, all is JSON."""

import json
from types import SimpleNamespace

import numpy as np
import torch

from components.core.batch import Split, ViewFacts
from components.families.diffusion import scores
from components.families.diffusion.evaluation import Settings, add_enlarged, evaluate
from components.families.diffusion.samples import RealImages, sample_arguments

FACTS = ViewFacts("v", 4, 1, {"label": ("a", "b")}, (0.0,), (1.0,), {"test": 12}, "")
CONDITIONS = {"label": True, "text": None, "low_resolution": None, "label_dropout": 0.1}


class Fake:
    """A served model that returns noise; ``scale``: its name of the guidance scale."""

    base = None

    def __init__(self, scale="guidance_scale", conditions=CONDITIONS):
        self.scale, self.calls = scale, []
        self.facts = {"image_size": 4, "channels": 1, "classes": ["a", "b"], "conditions": conditions}
        self.signature = {"params": [{"name": "steps"}, {"name": scale}]}

    def sample(self, inputs, **arguments):
        self.calls.append(arguments[self.scale])
        number = len(next(iter(inputs.values())))
        return np.random.default_rng(0).integers(0, 256, (number, 4, 4, 1), dtype=np.uint8)

    def evaluations(self, sampler, steps, guidance="free", **scale):
        return steps * (1 if scale[self.scale] in (0, 1) else 2)


class Judge:
    """A classifier that counts the images it scores."""

    def __init__(self):
        self.facts, self.counts = {"classes": ["a", "b"], "image_size": 4, "channels": 1}, []

    def scores(self, images):
        self.counts.append(len(images))
        features = images.reshape(len(images), -1).astype(float)[:, :3]
        return {"logits": features[:, :2], "features": features}


def split(count=12):
    """Pixels as uint8: the evaluation never sees a float."""
    pixels = torch.randint(0, 256, (count, 4, 4, 1), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Split(FACTS, [{"image": pixels, "label": torch.arange(count) % 2}])


ASKED = Settings(bound_draws=0, samples=8, guidance_scales=(0.0, 1.0, 2.0), samplers=({"sampler": "ddim", "steps": 3},))


def report_of(served, monkeypatch, judge):
    monkeypatch.setattr(scores, "load_served", lambda path: judge)
    link = {"classifier": SimpleNamespace(path=SimpleNamespace(name="judge"))}
    return evaluate(served, {"main": split()}, SimpleNamespace(evaluate=ASKED), link)


def test_real_images_are_scored_once_whatever_the_number_of_rows(monkeypatch):
    judge, served = Judge(), Fake()
    report = report_of(served, monkeypatch, judge)
    assert judge.counts == [12, 8, 8, 8, 8]  # the real ones, then guidance 1 (shared), 0, 2, and ddim
    assert served.calls == [1.0, 1.0, 0.0, 2.0, 1.0]  # the sheet, then the rows
    assert [row["evaluations"] for row in report.tables["guidance"]] == [20, 20, 40]


def test_an_export_that_calls_the_scale_gamma_is_evaluated_alike(monkeypatch):
    new, old = (report_of(Fake(name), monkeypatch, Judge()) for name in ("guidance_scale", "gamma"))
    assert new.metrics == old.metrics
    assert sample_arguments(Fake("gamma"), ASKED)["gamma"] == 1.0
    assert "gamma" not in sample_arguments(Fake(), ASKED)


def test_an_enlarged_flat_picture_has_a_finite_psnr():
    conditions = CONDITIONS | {"low_resolution": {"factor": 2, "noise": 0.0}}
    served = Fake(conditions=conditions)
    served.sample = lambda inputs, **arguments: np.full((len(inputs["image"]), 4, 4, 1), 128, np.uint8)
    flat = torch.full((6, 4, 4, 1), 128, dtype=torch.uint8)
    real = RealImages.of(Split(FACTS, [{"image": flat, "label": torch.arange(6) % 2}]), served.facts)
    report = SimpleNamespace(metrics={}, pictures={})
    add_enlarged(report, served, real, ASKED)
    values = {name: metric.value for name, metric in report.metrics.items()}
    assert json.loads(json.dumps(values, allow_nan=False)) == {
        "psnr": 100.0,
        "psnr_bicubic": 100.0,
        "psnr_made_small_again": 100.0,
    }
