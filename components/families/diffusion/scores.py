"""Samples scored on the features of a linked classifier, or of Inception, beside real images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from components.core.recipe import Metric, Report
from components.families.diffusion.samples import RealImages, sample_arguments, scale_name
from components.metrics.samples.generated import better, check_judge, classes_of_judge, compare, conditional
from components.metrics.sheets import sheet
from components.serving.loading import load_served

if TYPE_CHECKING:
    from components.core.artifact import Artifact
    from components.families.diffusion.evaluation import Settings

PLOTTED = ("conditional_accuracy_", "diversity_", "frechet_distance_")


@dataclass(frozen=True)
class Scorer:
    """A linked classifier, its features of all real images [N, F], and the ``index`` of those whose conditions are sampled."""

    classifier: Any
    name: str
    features: np.ndarray
    real: RealImages
    index: np.ndarray
    settings: Settings

    @classmethod
    def of(cls, link: Artifact, real: RealImages, settings: Settings) -> Scorer:
        """Load the classifier and score the real images, once for all rows."""
        classifier = load_served(link.path)
        check_judge(real.facts, classifier.facts)
        index = sampled_index(real, settings)
        return cls(classifier, link.path.name, classifier.scores(real.images)["features"], real, index, settings)

    def row(self, served: Any, **changes: Any) -> tuple[dict[str, Any], np.ndarray]:
        """Draw samples with the settings' ``changes``: (number of images, evaluations per image and figures; the images).

        A row can take an hour (1,000 steps), so each is printed at once.
        """
        arguments = sample_arguments(served, self.settings, **changes)
        sampler, steps, guidance = (arguments[name] for name in ("sampler", "steps", "guidance"))
        scale = arguments[scale_name(served)]
        samples = served.sample(self.real.inputs(self.index, guidance), **arguments)
        scores = self.classifier.scores(samples)
        evaluations = served.evaluations(sampler, steps, guidance=guidance, **{scale_name(served): scale})
        row = {"images": len(samples), "evaluations": evaluations}
        row |= compare(self.features, scores["features"], self.name, self.settings.dimensions)
        if self.has_labels(guidance):
            row |= conditional(scores["logits"], scores["features"], self.labels(), self.name)
        figures = {name: round(value, 3) for name, value in row.items()}
        print(f"{sampler}, {steps} steps, guidance_scale {scale:g}", figures, flush=True)  # noqa: T201
        return row, samples

    def has_labels(self, guidance: str) -> bool:
        """Whether each sample is meant to show a class."""
        conditions = self.real.facts["conditions"]
        of_class = conditions["label"] or (conditions["text"] and not self.real.texts)
        return bool(of_class or guidance == "classifier")

    def labels(self) -> np.ndarray:
        """The classifier's index of the class of each sample; ValueError if it does not know a class."""
        theirs = classes_of_judge(self.real.classes, list(self.classifier.facts["classes"]), self.name)
        assert self.real.label is not None
        return theirs[self.real.label[self.index]]


def sampled_index(real: RealImages, settings: Settings) -> np.ndarray:
    """Indices of ``samples`` random images, whose conditions are sampled; all images are repeated if they are fewer."""
    return np.resize(np.random.default_rng(settings.seed).permutation(len(real.images)), settings.samples)


def add_scored(report: Report, served: Any, real: RealImages, settings: Settings, link: Artifact) -> None:
    """Add the figures at ``guidance_scale``, a table over ``guidance_scales`` and a table of ``samplers``."""
    scorer = Scorer.of(link, real, settings)
    row, _ = scorer.row(served)
    figures = {name: value for name, value in row.items() if name not in ("images", "evaluations")}
    report.metrics.update({name: Metric(value, better(name)) for name, value in figures.items()})
    if settings.guidance_scales:
        known = {settings.guidance_scale: row}
        rows = [
            {"guidance_scale": scale} | (known.get(scale) or scorer.row(served, guidance_scale=scale)[0])
            for scale in settings.guidance_scales
        ]
        report.tables["guidance"] = rows
        names = [name for name in rows[0] if name.startswith(PLOTTED)]
        report.pictures["guidance"] = line_plot(rows, "guidance_scale", names)
    table = []
    for entry in settings.samplers:
        row, images = scorer.row(served, **entry.model_dump())
        table.append(entry.model_dump() | row)
        report.pictures[f"samples_{entry.sampler}_{entry.steps}"] = sheet(images, columns=math.isqrt(len(images) - 1) + 1)
    if table:
        report.tables["samplers"] = table


def add_inception(report: Report, served: Any, real: RealImages, settings: Settings, weights: Artifact) -> None:
    """Add FID and its like, on Inception-v3 with the published weights that the user links; named ``..._inception``."""
    from components.networks.inception import InceptionV3, features_of

    network = InceptionV3()
    network.load_published(weights.weights().state)
    arguments = sample_arguments(served, settings)
    samples = served.sample(real.inputs(sampled_index(real, settings), settings.guidance), **arguments)
    features = features_of(network, real.images), features_of(network, samples)
    figures = compare(*features, extractor="inception", dimensions=settings.dimensions)
    report.metrics.update({name: Metric(value, better(name)) for name, value in figures.items()})


def line_plot(rows: list[dict[str, Any]], x: str, names: list[str]) -> np.ndarray:
    """Plot each figure over ``x`` in a panel of its own: uint8 [H, W, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(names), 3), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        axes.plot([row[x] for row in rows], [row[name] for row in rows], marker="o", color="#3b6ea8")
        axes.set(xlabel=x, title=name)
        axes.title.set_fontsize(9)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
