"""What an evaluation of a diffusion run shows: the bound, sheets of samples, and a linked classifier's word on them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from components.core.batch import Split, to_pixels
from components.core.recipe import Metric, Report
from components.families.diffusion.settings import EvaluateSettings, TextSettings
from components.metrics.generated import better, compare, conditional
from components.metrics.psnr import psnr
from components.metrics.sheets import sheet
from components.serving.loading import load_served

if TYPE_CHECKING:
    from components.core.artifact import Artifact

PAIRS = 8  # rows of the sheet of enlarged images
PLOTTED = ("conditional_accuracy_", "diversity_", "frechet_distance_")
WIDEST = 32  # classes side by side; more are broken into lines


@dataclass(frozen=True)
class Real:
    """The split: images uint8 [N, H, W, C], labels int64 [N] or None, and what the served model is asked by."""

    images: np.ndarray
    label: np.ndarray | None
    classes: tuple[str, ...]
    facts: dict[str, Any]

    @classmethod
    def of(cls, split: Split, facts: dict[str, Any]) -> Real:
        batches = [(to_pixels(batch["image"]), batch.get("label")) for batch in split]
        label = None if batches[0][1] is None else np.concatenate([found.numpy() for _, found in batches])  # type: ignore[union-attr]
        return cls(np.concatenate([images for images, _ in batches]), label, split.facts.classes.get("label", ()), facts)

    def inputs(self, chosen: np.ndarray, guidance: str = "free") -> dict[str, Any]:
        """What ``predict`` takes for the images of these indices."""
        conditions, label = self.facts["conditions"], self.label
        found: dict[str, Any] = {}
        if conditions["label"] or guidance == "classifier":
            assert label is not None
            found["label"] = label[chosen]
        if conditions["text"]:
            assert label is not None
            text = TextSettings(**conditions["text"])
            found["text"] = np.array([text.of(self.classes[k]) for k in label[chosen]])
        if conditions["low_resolution"]:
            found["image"] = self.smaller(self.images[chosen])
        return found or {"label": np.full(len(chosen), -1, np.int64)}

    def smaller(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C] -> [N, h, w, C], means of squares, as in training."""
        factor = self.facts["conditions"]["low_resolution"]["factor"]
        number, height, width, channels = images.shape
        squares = images.reshape(number, height // factor, factor, width // factor, factor, channels)
        return squares.mean(axis=(2, 4)).round().astype(np.uint8)

    def a_row_of_each(self, rows: int) -> np.ndarray:
        """Indices of ``rows`` x K images: one of each class a row, again from the first where a class has no more."""
        assert self.label is not None
        of = [np.flatnonzero(self.label == k) for k in range(len(self.classes))]
        return np.array([of[k][row % len(of[k])] for row in range(rows) for k in range(len(of)) if len(of[k])])


def report(served: Any, split: Split, asked: EvaluateSettings, classifier: Artifact | None) -> Report:
    """All that ``asked`` asks for; the figures are of images made for the real ones' own conditions."""
    real = Real.of(split, served.facts)
    found = Report({}, groups=real.label, group_names=real.classes)
    if asked.bound_draws:
        add_bound(found, served, real, asked)
    found.pictures["samples"] = sheet_of_samples(served, real, asked)
    if served.facts["conditions"]["low_resolution"]:
        add_enlarged(found, served, real, asked)
    if classifier is not None:
        add_scored(found, served, real, asked, classifier)
    return found


def manner(asked: EvaluateSettings, **other: Any) -> dict[str, Any]:
    """How ``served.sample`` is asked."""
    common = {"sampler": asked.sampler, "steps": asked.steps, "gamma": asked.gamma, "guidance": asked.guidance}
    return common | {"seed": asked.seed} | other


def add_bound(found: Report, served: Any, real: Real, asked: EvaluateSettings) -> None:
    """The variational bound of every image, and its terms."""
    parts = []
    for start in range(0, len(real.images), 256):
        chosen = np.arange(start, min(start + 256, len(real.images)))
        bound = served.bound(real.images[chosen], real.inputs(chosen), draws=asked.bound_draws, seed=asked.seed + start)
        parts.append(bound)
    items = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found.items["bits_per_dim"] = items["bits_per_dim"]
    found.metrics["bits_per_dim"] = Metric(float(items["bits_per_dim"].mean()), "min")
    rows = [{"term": name, "bits_per_dim": float(values.mean())} for name, values in items.items()]
    found.tables["bound"] = [row | {"images": len(real.images), "draws": asked.bound_draws} for row in rows]


def sheet_of_samples(served: Any, real: Real, asked: EvaluateSettings) -> np.ndarray:
    """Classes as columns where there are any to ask for, else a square; a cascade begins at its base."""
    conditions = served.facts["conditions"]
    if conditions["label"] or conditions["text"]:
        chosen = real.a_row_of_each(asked.rows)
        columns = len(chosen) // asked.rows
    else:
        chosen, columns = np.arange(asked.rows**2) % len(real.images), asked.rows
    draw = served.sample if served.base is None else served.cascade
    drawn = draw(real.inputs(chosen, asked.guidance), **manner(asked))
    return sheet(drawn, columns if columns <= WIDEST else math.isqrt(len(drawn) - 1) + 1)


def add_enlarged(found: Report, served: Any, real: Real, asked: EvaluateSettings) -> None:
    """Small image | sample | truth | bicubic; how near the sample is to the truth, and made small again to what it was told."""
    chosen = np.linspace(0, len(real.images) - 1, min(asked.samples, len(real.images))).astype(int)
    inputs, truth = real.inputs(chosen), real.images[chosen]
    plain = manner(asked, gamma=1.0, guidance="free")
    made, bicubic = served.sample(inputs, **plain), enlarged(inputs["image"], truth.shape[1], "bicubic")
    figures = {
        "psnr": psnr(made, truth),
        "psnr_bicubic": psnr(bicubic, truth),
        "psnr_made_small_again": psnr(real.smaller(made), inputs["image"]).clip(max=100.0),
    }
    found.metrics.update({name: Metric(float(values.mean()), "max") for name, values in figures.items()})
    small = enlarged(inputs["image"], truth.shape[1], "nearest")
    rows = np.stack([small, made, truth, bicubic], axis=1)[:PAIRS]
    found.pictures["enlarged"] = sheet(rows.reshape(-1, *truth.shape[1:]), columns=4)


def enlarged(images: np.ndarray, side: int, mode: str) -> np.ndarray:
    """uint8 [N, h, w, C] -> uint8 [N, side, side, C]."""
    import torch
    import torch.nn.functional as F

    pixels = F.interpolate(torch.from_numpy(images).permute(0, 3, 1, 2).double(), size=(side, side), mode=mode)
    return pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


@dataclass(frozen=True)
class Scorer:
    """A classifier run, and ``count`` real images with what it makes of them: the yardstick of every figure."""

    served: Any
    name: str
    real: Real
    chosen: np.ndarray
    asked: EvaluateSettings

    @classmethod
    def of(cls, classifier: Artifact, real: Real, asked: EvaluateSettings) -> Scorer:
        order, served = np.random.default_rng(asked.seed).permutation(len(real.images)), load_served(classifier.path)
        own, theirs = ((facts["image_size"], facts["channels"]) for facts in (real.facts, served.facts))
        if own != theirs:
            raise ValueError(f"link classifier: it sees images of (side, channels) {theirs}, this model makes {own}")
        return cls(served, classifier.path.name, real, np.resize(order, asked.samples), asked)

    def figures(self, served: Any, **other: Any) -> tuple[dict[str, Any], np.ndarray]:
        """(a row: images, evaluations of the network for one, figures; the images) of samples made in this manner.

        It can take an hour (1,000 steps), so each row is said as it comes."""
        how = manner(self.asked, **other)
        made = served.sample(self.real.inputs(self.chosen, how["guidance"]), **how)
        real, found = (self.served.scores(images) for images in (self.real.images, made))
        row = {
            "images": len(made),
            "evaluations": served.evaluations(how["sampler"], how["steps"], gamma=how["gamma"], guidance=how["guidance"]),
        }
        row |= compare(real["features"], found["features"], self.name, self.asked.dimensions)
        if self.asks_for_a_class(how["guidance"]):
            row |= conditional(found["logits"], found["features"], self.label(), self.name)
        asked = f"{how['sampler']}, {how['steps']} steps, gamma {how['gamma']:g}"
        print(asked, {name: round(value, 3) for name, value in row.items()}, flush=True)  # noqa: T201
        return row, made

    def asks_for_a_class(self, guidance: str) -> bool:
        conditions = self.real.facts["conditions"]
        return bool(conditions["label"] or conditions["text"] or guidance == "classifier")

    def label(self) -> np.ndarray:
        """The classifier's index of each asked-for class; ValueError where it does not know one."""
        theirs = list(self.served.facts["classes"])
        if missing := [name for name in self.real.classes if name not in theirs]:
            raise ValueError(f"link classifier: {self.name} does not know the classes {', '.join(missing[:8])}")
        assert self.real.label is not None
        return np.array([theirs.index(self.real.classes[k]) for k in self.real.label[self.chosen]])


def add_scored(found: Report, served: Any, real: Real, asked: EvaluateSettings, classifier: Artifact) -> None:
    """Figures at ``gamma``, then for each scale of the sweep and each row of the samplers."""
    scorer = Scorer.of(classifier, real, asked)
    row, _ = scorer.figures(served)
    figures = {name: value for name, value in row.items() if name not in ("images", "evaluations")}
    found.metrics.update({name: Metric(value, better(name)) for name, value in figures.items()})
    if asked.sweep:
        swept = {gamma: row if gamma == asked.gamma else scorer.figures(served, gamma=gamma)[0] for gamma in asked.sweep}
        rows = [{"gamma": gamma} | figures for gamma, figures in swept.items()]
        found.tables["guidance"] = rows
        found.pictures["guidance"] = line_plot(rows, "gamma", [n for n in rows[0] if n.startswith(PLOTTED)])
    table = []
    for entry in asked.samplers:
        how = entry.model_dump()
        row, images = scorer.figures(served, **how)
        table.append(how | row)
        found.pictures[f"samples_{entry.sampler}_{entry.steps}"] = sheet(images, columns=math.isqrt(len(images) - 1) + 1)
    if table:
        found.tables["samplers"] = table


def add_inception(found: Report, served: Any, split: Split, asked: EvaluateSettings, weights: Artifact) -> None:
    """FID and its like, on Inception-v3 with the published weights that the user links; named ``..._inception``."""
    from components.networks.inception import InceptionV3, features_of

    real, network = Real.of(split, served.facts), InceptionV3()
    network.load_published(weights.state_dict())
    chosen = np.resize(np.random.default_rng(asked.seed).permutation(len(real.images)), asked.samples)
    made = served.sample(real.inputs(chosen, asked.guidance), **manner(asked))
    truth, samples = (features_of(network, images) for images in (real.images, made))
    figures = compare(truth, samples, "inception", asked.dimensions)
    found.metrics.update({name: Metric(value, better(name)) for name, value in figures.items()})


def line_plot(rows: list[dict[str, Any]], x: str, names: list[str]) -> np.ndarray:
    """uint8 [H, W, 3]: a panel a figure, over ``x``."""
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
